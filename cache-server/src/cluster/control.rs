//! Control calls to other members.

use forebay_core::ErrorKind;
use forebay_core::cache::CacheError;
use forebay_proto::cache::v1::cache_member_client::CacheMemberClient;
use forebay_proto::cache::v1::{
    self as wire, BringRequest, BringResponse, MemberReport, ReportRequest, SettleRequest,
};
use tonic::{Response, Status};

use super::Peer;
use crate::node::Piece;

impl Peer {
    /// Has the peer bring `pieces`, or look for them: of each, the bytes that were not
    /// there before, all of them counted with the first.
    pub(crate) async fn bring(
        &self,
        pieces: &[Piece],
        only_look: bool,
    ) -> Result<Vec<Result<u64, CacheError>>, CacheError> {
        let mut client = CacheMemberClient::new(self.channel());
        let answer = self.while_alive(client.bring(request(pieces, only_look)));
        Ok(outcomes(pieces.len(), self.answered(answer.await)?))
    }

    /// Has the peer make durable what it brought.
    pub(crate) async fn settle(&self) -> Result<(), CacheError> {
        let mut client = CacheMemberClient::new(self.channel());
        let answer = self.while_alive(client.settle(SettleRequest {}));
        self.answered(answer.await).map(drop)
    }

    /// Asks the peer how it is.
    pub(crate) async fn report(&self) -> Result<MemberReport, CacheError> {
        let mut client = CacheMemberClient::new(self.channel());
        let answer = self.while_alive(client.report(ReportRequest {}));
        self.answered(answer.await)
    }

    fn answered<T>(&self, answer: Option<Result<Response<T>, Status>>) -> Result<T, CacheError> {
        let name = self.name();
        match answer {
            Some(Ok(answer)) => Ok(answer.into_inner()),
            Some(Err(status)) => {
                let message = format!("{name} answers: {}", status.message());
                Err(CacheError::new(ErrorKind::Unavailable, message))
            }
            None => {
                let message = format!("{name} has died");
                Err(CacheError::new(ErrorKind::Unavailable, message))
            }
        }
    }
}

fn request(pieces: &[Piece], only_look: bool) -> BringRequest {
    let mut origins: Vec<String> = Vec::new();
    let pieces = pieces.iter().map(|piece| {
        let (target, range) = (piece.target(), piece.range());
        let identity = target.origin().identity();
        // A dataset has a handful of sources.
        let origin = origins.iter().position(|known| known == identity);
        let origin = origin.unwrap_or_else(|| {
            origins.push(identity.to_owned());
            origins.len() - 1
        });
        let pinned = target.pinned();
        wire::Piece {
            origin: u32::try_from(origin).unwrap_or(u32::MAX),
            key: pinned.key.to_vec(),
            etag: pinned.etag.as_str().to_owned(),
            size: pinned.size,
            start: range.start(),
            len: range.len(),
        }
    });
    let pieces = pieces.collect();
    BringRequest {
        origins,
        pieces,
        only_look,
    }
}

fn outcomes(count: usize, answer: BringResponse) -> Vec<Result<u64, CacheError>> {
    let mut outcomes: Vec<_> = (0..count).map(|_| Ok(0)).collect();
    for failed in answer.failed {
        let kind = ErrorKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == failed.kind);
        let error = CacheError::new(kind.unwrap_or(ErrorKind::Internal), failed.message);
        if let Some(outcome) = outcomes.get_mut(failed.piece as usize) {
            *outcome = Err(error);
        }
    }
    if let Some(first) = outcomes
        .iter_mut()
        .find_map(|outcome| outcome.as_mut().ok())
    {
        *first = answer.bytes_fetched;
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use forebay_proto::cache::v1::FailedPiece;

    use super::*;

    #[test]
    fn an_answer_names_what_failed_and_counts_the_rest_together() {
        let failed = |piece, kind: &str| FailedPiece {
            piece,
            kind: kind.into(),
            message: "m".into(),
        };
        let answer = BringResponse {
            bytes_fetched: 7,
            // The last two make no sense, and no harm.
            failed: vec![failed(0, "stale"), failed(9, "stale"), failed(2, "odd")],
        };
        let outcomes = outcomes(3, answer);
        let kinds: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| outcome.map_err(|error| error.kind))
            .collect();
        let expected = [Err(ErrorKind::Stale), Ok(7), Err(ErrorKind::Internal)];
        assert_eq!(kinds, expected);
    }
}
