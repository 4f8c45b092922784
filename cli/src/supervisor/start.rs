//! How a process that serves a mount begins.

/// How a process that serves a mount under a supervisor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It makes the mount.
    First,
    /// It takes over from a process that has died.
    Again,
    /// It takes over from a process that serves still, once it is told that this one has
    /// gone.
    Successor,
}

impl Start {
    /// The environment variable that says so. Part of the contract between a supervisor
    /// and later versions of the program.
    pub(crate) const VARIABLE: &str = "FOREBAY_CLIENT";

    /// How this process was told to begin; `None` if no supervisor has started it.
    pub(crate) fn inherited() -> Option<Self> {
        let word = std::env::var(Self::VARIABLE).ok()?;
        [Self::First, Self::Again, Self::Successor]
            .into_iter()
            .find(|start| start.as_str() == word)
    }

    /// The value of the variable.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Again => "again",
            Self::Successor => "successor",
        }
    }
}
