//! What this member does for the others beside reading.

use std::sync::Arc;

use forebay_core::ByteRange;
use forebay_core::ETag;
use forebay_core::cache::CacheError;
use forebay_proto::cache::v1::cache_member_server::{CacheMember, CacheMemberServer};
use forebay_proto::cache::v1::{
    self as wire, BringRequest, BringResponse, FailedPiece, MemberReport, ReportRequest,
    SettleRequest, SettleResponse,
};
use tonic::{Request, Response, Status};

use super::PeerServer;
use crate::cluster::Clustered;
use crate::dataset::Target;
use crate::node::Piece;
use crate::origin::Origin;

/// The most pieces of one call.
const MOST_PIECES: usize = 4096;

/// The calls of members.
#[derive(Clone, Debug)]
pub struct MemberService(Arc<PeerServer>);

impl PeerServer {
    /// What to serve to those who come in through the control port of this server, and to
    /// nobody else.
    pub fn member_service(self: &Arc<Self>) -> CacheMemberServer<MemberService> {
        CacheMemberServer::new(MemberService(Arc::clone(self)))
    }

    /// The object of a piece, through the cluster: who keeps a second copy has it from
    /// the first.
    fn piece(&self, origins: &[Arc<dyn Origin>], piece: wire::Piece) -> Option<Piece> {
        let origin = Arc::clone(origins.get(piece.origin as usize)?);
        let end = piece.start.checked_add(piece.len)?;
        let target = Target::new(origin, piece.key.into(), ETag::new(piece.etag), piece.size);
        Piece::new(target, ByteRange::new(piece.start, end))
    }

    fn clustered(&self, identity: &str) -> Result<Arc<dyn Origin>, CacheError> {
        let origin = self.origin(identity)?;
        Ok(Arc::new(Clustered::new(origin, Arc::clone(&self.cluster))))
    }
}

#[tonic::async_trait]
impl CacheMember for MemberService {
    async fn bring(
        &self,
        request: Request<BringRequest>,
    ) -> Result<Response<BringResponse>, Status> {
        let BringRequest {
            origins,
            pieces,
            only_look,
        } = request.into_inner();
        if pieces.len() > MOST_PIECES {
            let message = format!("{} pieces; the limit is {MOST_PIECES}", pieces.len());
            return Err(Status::invalid_argument(message));
        }
        let origins = origins.iter().map(|identity| self.0.clustered(identity));
        let origins: Result<Vec<_>, _> = origins.collect();
        let origins = origins.map_err(|error| Status::not_found(error.to_string()))?;
        let pieces = pieces
            .into_iter()
            .map(|piece| self.0.piece(&origins, piece));
        let pieces: Option<Vec<_>> = pieces.collect();
        let pieces = pieces.ok_or_else(|| Status::invalid_argument("a piece of no object"))?;
        let mut answer = BringResponse::default();
        let brought = self.0.node.bring(pieces, only_look).await;
        for (piece, brought) in (0..).zip(brought) {
            match brought {
                Ok(bytes) => answer.bytes_fetched += bytes,
                Err(error) => answer.failed.push(FailedPiece {
                    piece,
                    kind: error.kind.as_str().into(),
                    message: error.to_string(),
                }),
            }
        }
        Ok(Response::new(answer))
    }

    async fn settle(&self, _: Request<SettleRequest>) -> Result<Response<SettleResponse>, Status> {
        let settled = self.0.node.make_durable().await;
        settled.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(SettleResponse {}))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<MemberReport>, Status> {
        Ok(Response::new(self.0.node.report()))
    }
}
