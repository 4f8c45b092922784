//! HTTP/1.1 over one socket: as much of it as S3 servers use.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any server of the tests takes, shorter than a test's patience.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// As it goes over the wire: encoded, with a slash in front.
    pub(super) path: &'a str,
    /// Encoded, without a question mark; empty for none.
    pub(super) query: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: &'a [u8],
}

/// An answer.
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers in the order in which they came, the names in small letters.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(header, _)| header == name)?;
        Some(&header.1)
    }

    /// Checks the status of an answer to `what` was asked.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn expect_status(&self, what: &str, status: u16) {
        assert_eq!(self.status, status, "{what}: {self:?}");
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.body[..self.body.len().min(500)];
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body_len", &self.body.len())
            .field("body", &String::from_utf8_lossy(start))
            .finish()
    }
}

#[derive(Debug)]
pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(super) fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request and reads the answer; gives the connection back if it can be used
    /// again.
    pub(super) fn exchange(
        mut self,
        request: &Request<'_>,
    ) -> io::Result<(Option<Self>, Response)> {
        self.send(request)?;
        let (status, headers) = self.head()?;
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        let closes = response
            .header("connection")
            .is_some_and(|value| value == "close");
        let length = response
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let chunked = response.header("transfer-encoding").is_some();
        let bodiless = request.method == "HEAD" || matches!(status, 204 | 304);
        let ended_by_close = !bodiless && !chunked && length.is_none();
        response.body = match length {
            _ if bodiless => Vec::new(),
            _ if chunked => self.chunks()?,
            Some(length) => self.exactly(length)?,
            None => self.rest()?,
        };
        let reusable = !closes && !ended_by_close;
        Ok((reusable.then_some(self), response))
    }

    fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        let question = if request.query.is_empty() { "" } else { "?" };
        let mut head = format!(
            "{} {}{question}{} HTTP/1.1\r\ncontent-length: {}\r\n",
            request.method,
            request.path,
            request.query,
            request.body.len()
        );
        for (name, value) in request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(request.body)
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| invalid(&first))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        self.0.read_to_end(&mut body)?;
        Ok(body)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = line.split(';').next().unwrap_or_default();
            let length = usize::from_str_radix(length, 16).map_err(|_| invalid(&line))?;
            body.extend(self.exactly(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

fn invalid(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {line:?}"))
}
