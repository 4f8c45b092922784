//! Every target bears what it is given for a few seconds; `cargo xtask fuzz` goes on.

use std::time::Duration;

use forebay_fuzz::{Campaign, Corpus, all, save_crash};

/// For each target: all of the corpus in any case, then mutations of it.
const SHORT: Duration = Duration::from_secs(2);

// One test, so that one target at a time uses memory.
#[test]
fn every_target_bears_its_corpus_and_some_thousand_mutations() {
    for (name, make) in all() {
        let corpus = Corpus::of(name).inputs().expect("a readable corpus");
        let given = corpus.len();
        let outcome = Campaign::new(make(), corpus, 1).run(SHORT, |_| {});
        println!("{name}: {} runs, {given} of the corpus", outcome.runs);
        if let Some(crash) = outcome.crash {
            panic!(
                "{name}: {}; {}",
                crash.reason,
                save_crash(name, &crash.input)
            );
        }
        assert!(outcome.runs > given as u64, "{name}: nothing was mutated");
    }
}
