//! The HTTP face of the server: counts, meets faults, and passes on to `s3s`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use s3s::StdError;
use s3s::service::S3Service;
use tokio::time::sleep;

use crate::body::{HangUp, Outgoing, Spoil};
use crate::fault::{Action, Faults};
use crate::stats::Counters;
use crate::target::Target;

/// The service of every connection.
#[derive(Clone)]
pub(crate) struct Frontend {
    pub(crate) s3: S3Service,
    pub(crate) faults: Arc<Faults>,
    pub(crate) counters: Arc<Counters>,
}

impl Frontend {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Outgoing>, StdError> {
        let target = Target::of(&request);
        self.counters.request(target.operation);
        let mut spoil = None;
        match self.faults.take(&target) {
            None => {}
            Some(Action::Status(status, code)) => {
                return Ok(self.wrap(error(status, &code), None, &target));
            }
            Some(Action::Disconnect) => return Err(HangUp.into()),
            Some(Action::Delay(duration)) => sleep(duration).await,
            Some(Action::TruncateAfter(bytes)) => spoil = Some(Spoil::TruncateAfter(bytes)),
            Some(Action::StallAfter(bytes, pause)) => {
                spoil = Some(Spoil::StallAfter(bytes, pause));
            }
            Some(Action::SlowBody(rate)) => spoil = Some(Spoil::Slow(rate)),
            Some(Action::WrongByte(position)) => spoil = Some(Spoil::WrongByte(position)),
        }
        let response = self.s3.call(request.map(s3s::Body::from)).await?;
        Ok(self.wrap(response, spoil, &target))
    }

    fn wrap(
        &self,
        response: Response<s3s::Body>,
        spoil: Option<Spoil>,
        target: &Target,
    ) -> Response<Outgoing> {
        let counters = Arc::clone(&self.counters);
        response.map(|body| Outgoing::new(body, spoil, target.operation, counters))
    }
}

impl hyper::service::Service<Request<Incoming>> for Frontend {
    type Response = Response<Outgoing>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, StdError>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

/// An error answer with a body as S3 writes it. `code` is an S3 error code: plain letters.
fn error(status: StatusCode, code: &str) -> Response<s3s::Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code>\
         <Message>scripted fault</Message></Error>"
    );
    let mut response = Response::new(s3s::Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}
