//! Plans: JSON documents that jobs write into a mount.

use std::fs;

use forebay_core::manifest::Manifest;
use forebay_fuse_client::{PlanSpec, Sampler};
use forebay_tests::Scratch;

use super::{Target, manifest};

/// Drawing an order takes time in proportion to it: ten seconds at the bound that the
/// parser has, which is too long for one input.
const MOST_DRAWS: u64 = 1 << 16;

/// Parses a plan and resolves it on a dataset of 60 files.
pub(super) struct Parser {
    manifest: Manifest,
    // The manifest is mapped from it.
    _scratch: Scratch,
}

impl Parser {
    pub(super) fn new() -> Self {
        let scratch = Scratch::in_memory("fuzz-plan", 1 << 20);
        let keys: Vec<_> = (0..60).map(|n| format!("d{}/{n}", n % 3)).collect();
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
        let path = scratch.path().join("plan.manifest");
        fs::write(&path, manifest::build(scratch.path(), &[""], &keys)).expect("room in memory");
        Self {
            manifest: Manifest::open(&path).expect("a manifest that was just built"),
            _scratch: scratch,
        }
    }
}

impl Target for Parser {
    fn name(&self) -> &'static str {
        "plan"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        [
            r#"{"seed": 3}"#,
            r#"{"seed":0,"epoch":2,"rank":3,"world":8,"order":"torch","glob":"d1/**","drop_last":true,"len":20}"#,
            r#"{"seed":0,"rank":[0,1],"world":2,"order":"torch-random"}"#,
            r#"{"paths": ["d0/0", "./d1/1", "d0/0"], "name": "mine"}"#,
            r#"{"indices": [2, 0, 1], "glob": "d*/*"}"#,
            r#"{"order": "sequential"}"#,
            r#"{"paths": []}"#,
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
    }

    fn words(&self) -> &'static [&'static [u8]] {
        &[
            br#""seed":"#,
            br#""epoch":"#,
            br#""rank":"#,
            br#""world":"#,
            br#""order":"#,
            br#""torch-random""#,
            br#""sequential""#,
            br#""glob":"#,
            br#""paths":["#,
            br#""indices":["#,
            br#""drop_last":true"#,
            br#""len":"#,
            b"4294967295",
            b"18446744073709551615",
            b"-9223372036854775808",
            b"1e400",
            br#""{a,b}[!c]**""#,
            br#""\ud800""#,
            b"[[[[",
            b"{\"",
            b",",
        ]
    }

    fn most_memory(&self, len: usize) -> usize {
        // A glob's automaton comes on top of what the text says.
        (16 << 20) + 128 * len
    }

    fn read(&mut self, input: &[u8]) {
        let Ok(spec) = PlanSpec::parse(input) else {
            return;
        };
        let files = self.manifest.files().count() as u64;
        if spec.order == Sampler::TorchRandom && spec.epoch.saturating_mul(files) > MOST_DRAWS {
            return;
        }
        if let Ok(order) = spec.resolve(&self.manifest) {
            let listed = spec.paths.as_ref().map(Vec::len);
            let listed = listed.or_else(|| spec.indices.as_ref().map(Vec::len));
            if let Some(listed) = listed {
                assert_eq!(order.len(), listed as u64, "a list that lost something");
            }
        }
    }
}
