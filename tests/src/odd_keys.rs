//! Keys that no file system likes.

/// Keys that S3 takes and that a path, a URL or an XML document may bend: each with what
/// is odd about it. All are valid keys: UTF-8, 1 to 1,024 bytes.
pub fn odd_keys() -> Vec<(&'static str, String)> {
    let long_name = "n".repeat(256);
    let longest = "k/".repeat(512);
    [
        ("a file where there is a directory", "a"),
        ("a file in a directory of a file's name", "a/b"),
        ("an empty part", "empty//part"),
        ("a slash in front", "/leading"),
        ("only a slash", "/"),
        ("a slash at the end", "trailing/"),
        ("a part that is a dot", "dot/./part"),
        ("a part that is two dots", "dots/../part"),
        ("two dots in front", "../outside"),
        ("only a dot", "."),
        ("a backslash", "back\\slash"),
        ("a line feed", "line\nfeed"),
        ("a carriage return", "carriage\rreturn"),
        ("a tab", "tab\tstop"),
        ("a control character", "control\u{1}character"),
        ("a space at both ends", " spaces "),
        ("plus, percent and friends", "a+b%20c%2Fd?e#f&g=h;i:j@k"),
        ("XML's own", "<&>\"'"),
        ("several scripts", "größe/数据/😀"),
        ("a combining accent", "e\u{301}"),
        ("a name of more than 255 bytes", &long_name),
        ("the longest key", &longest),
    ]
    .map(|(oddity, key)| (oddity, key.to_owned()))
    .into()
}
