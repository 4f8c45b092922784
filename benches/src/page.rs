//! Pages with parts that a program writes, between two comments.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file of this repository.
pub fn path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}

/// Replaces the part `name` of the page at `path`.
///
/// # Errors
/// If the page cannot be read or written, or has no such part.
pub fn write(path: &Path, name: &str, text: &str) -> Result<()> {
    let page = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let page = replaced(&page, name, text)
        .with_context(|| format!("{} has no part {name}", path.display()))?;
    fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

/// `page` with `text` between `<!-- begin NAME -->` and `<!-- end NAME -->`, each on a
/// line of its own; `None` if one is missing.
fn replaced(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let from = page.find(&begin)? + begin.len();
    let to = from + page[from..].find(&end)?;
    let text = text.trim_end();
    Some(format!("{}{text}\n{}", &page[..from], &page[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";

    #[test]
    fn only_the_part_changes() {
        let page = replaced(PAGE, "x", "new\nlines\n\n").unwrap();
        assert_eq!(page, "a\n<!-- begin x -->\nnew\nlines\n<!-- end x -->\nb\n");
        assert_eq!(replaced(&page, "x", "old").unwrap(), PAGE);
    }

    #[test]
    fn a_page_without_the_part_is_left_alone() {
        assert_eq!(replaced(PAGE, "y", "new"), None);
        assert_eq!(
            replaced("<!-- end x -->\n<!-- begin x -->\n", "x", "new"),
            None
        );
    }
}
