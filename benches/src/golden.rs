//! Text that tests compare with a file beside them.

use std::fs;
use std::path::Path;

/// Fails unless `text` is what the file `name` of this folder holds; with
/// `FOREBAY_BLESS=1` in the environment, writes it there.
#[track_caller]
pub(crate) fn assert_is(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name);
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        fs::write(&path, text).expect("the repository can be written to");
    }
    let expected = fs::read_to_string(&path).expect("a file of this folder");
    assert_eq!(text, expected, "FOREBAY_BLESS=1 writes {name}");
}
