//! The body of a reply: whole, or as it comes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::live::http::Break;

/// A body that is made while it is sent. Dropped early, when whoever reads it has left.
pub type Stream = Pin<Box<dyn Body<Data = Bytes, Error = Break> + Send>>;

/// The body of a reply.
pub enum ReplyBody {
    /// All of it is there.
    Whole(Full<Bytes>),
    /// It comes piece by piece.
    Stream(Stream),
}

impl ReplyBody {
    /// A body that comes piece by piece.
    pub fn stream(body: impl Body<Data = Bytes, Error = Break> + Send + 'static) -> Self {
        Self::Stream(Box::pin(body))
    }
}

impl From<Bytes> for ReplyBody {
    fn from(whole: Bytes) -> Self {
        Self::Whole(Full::new(whole))
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => body.fmt(f),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Break;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Break>>> {
        match self.get_mut() {
            Self::Whole(body) => {
                let frame = Pin::new(body).poll_frame(context);
                frame.map(|frame| frame.map(|frame| frame.map_err(Break::from)))
            }
            Self::Stream(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}
