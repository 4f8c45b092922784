//! What went wrong in a call: for whom, while doing what, and what to do about it.

use std::fmt;

use tonic::{Code, Status};

use crate::place::Linked;

/// What a call was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reading the request.
    Request,
    /// Finding out where a dataset's objects are.
    Resolve,
    /// Mounting the dataset on the node.
    Mount,
    /// Showing the mount at the staging path.
    Stage,
    /// Showing it in the pod's directory.
    Publish,
    /// Taking it from the pod's directory.
    Unpublish,
    /// Taking it from the staging path.
    Unstage,
    /// Asking how full it is.
    Stats,
    /// Noting a volume in the catalogue, or looking it up there.
    Catalogue,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Resolve => "resolve",
            Self::Mount => "mount",
            Self::Stage => "stage",
            Self::Publish => "publish",
            Self::Unpublish => "unpublish",
            Self::Unstage => "unstage",
            Self::Stats => "stats",
            Self::Catalogue => "catalogue",
        })
    }
}

/// The class of an error, on which the caller decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request is wrong, whenever it is made.
    Invalid,
    /// The volume or its place does not exist.
    NotFound,
    /// It exists, and is another one.
    Conflict,
    /// Something else has to be done before.
    NotReady,
    /// The call's time is over; what it began goes on.
    TimedOut,
    /// The source, or a part of the node, does not answer now.
    Unavailable,
    /// The volume is not for this pod.
    Denied,
    /// The request cannot be met by what there is.
    OutOfRange,
    /// A token of a list is unknown.
    BadToken,
    /// A system call failed, or a defect.
    Internal,
}

impl Kind {
    /// The code that the Container Storage Interface has for it.
    fn code(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Conflict => Code::AlreadyExists,
            Self::NotReady => Code::FailedPrecondition,
            Self::BadToken => Code::Aborted,
            Self::TimedOut => Code::DeadlineExceeded,
            Self::Unavailable => Code::Unavailable,
            Self::Denied => Code::PermissionDenied,
            Self::OutOfRange => Code::OutOfRange,
            Self::Internal => Code::Internal,
        }
    }
}

impl Kind {
    /// What can be done about an error of this class of which nothing better is known.
    fn next(self) -> &'static str {
        match self {
            Self::Invalid | Self::OutOfRange => "correct the request",
            Self::NotFound => "see whether the volume is on this node",
            Self::Conflict => "take away what is there first",
            Self::NotReady => "stage the volume, then publish it",
            Self::TimedOut | Self::Unavailable => "the call is made again",
            Self::Denied => "use a volume that this pod may have",
            Self::BadToken => "begin again without a token",
            Self::Internal => "see the driver's log on this node",
        }
    }
}

/// A call that failed.
///
/// Shown as `dataset team/images: mount: what happened; next: what to do`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{phase}: {what}; next: {}", subject(.dataset.as_ref()), next_step(.next.as_ref(), .kind))]
pub(crate) struct Error {
    /// Its class.
    pub(crate) kind: Kind,
    /// The dataset, or else the volume.
    pub(crate) dataset: Option<String>,
    /// What was being done.
    pub(crate) phase: Phase,
    /// What happened, and why.
    pub(crate) what: String,
    /// What to do about it, if there is more to say than the class does.
    pub(crate) next: Option<String>,
}

/// The result of a call, or of a part of one.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: Kind, phase: Phase, what: impl Into<String>) -> Self {
        Self {
            kind,
            dataset: None,
            phase,
            what: what.into(),
            next: None,
        }
    }

    /// A required field of the request that is empty.
    pub(crate) fn missing(field: &str) -> Self {
        Self::invalid(format!("{field} is missing"))
    }

    /// A request that is wrong.
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, Phase::Request, what)
    }

    /// A system call that failed; on a path with a link in it the request is wrong.
    pub(crate) fn system(
        phase: Phase,
        what: &str,
        path: &std::path::Path,
        error: impl Into<std::io::Error>,
    ) -> Self {
        let error = error.into();
        let what = format!("{what} {}: {error}", path.display());
        let linked = error.get_ref().is_some_and(|inner| inner.is::<Linked>());
        let kind = if linked {
            Kind::Invalid
        } else {
            Kind::Internal
        };
        Self::new(kind, phase, what)
    }

    /// Says whose call it was, unless something closer to it has.
    pub(crate) fn of(mut self, dataset: impl fmt::Display) -> Self {
        self.dataset.get_or_insert_with(|| dataset.to_string());
        self
    }

    /// Says what can be done about it.
    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }
}

fn subject(dataset: Option<&String>) -> String {
    dataset.map_or_else(String::new, |dataset| format!("{dataset}: "))
}

fn next_step<'a>(next: Option<&'a String>, kind: &Kind) -> &'a str {
    next.map_or(kind.next(), String::as_str)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::new(error.kind.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_dataset_phase_cause_and_next_step() {
        let error = Error::new(Kind::Unavailable, Phase::Mount, "no such bucket")
            .of("dataset team/images")
            .next("check the url")
            .of("volume x");
        let status = Status::from(error);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(
            status.message(),
            "dataset team/images: mount: no such bucket; next: check the url"
        );
    }

    #[test]
    fn an_error_of_nobody_says_what_it_knows() {
        let status = Status::from(Error::missing("volume_id"));
        assert_eq!(
            status.message(),
            "request: volume_id is missing; next: correct the request"
        );
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
