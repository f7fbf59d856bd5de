//! A mock that stands alone: one port, one or more models, and an admin side for whoever is on the same machine.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};

use crate::fault::schedule::Fault;
use crate::live::clock::Clock;
use crate::live::http::drain::Drain;
use crate::live::http::server::{self, Limits};
use crate::live::http::socket::Socket;
use crate::live::http::{Break, Reply};
use crate::live::mock::book::Book;
use crate::live::mock::switch::Switch;
use crate::live::mock::{MockUpstream, admin, native};

/// Reads a list of faults as people write it, with times that count from its arrival, or says what is wrong
/// with it.
pub type ReadFaults = Box<dyn Fn(&str) -> Result<Vec<Fault>, String> + Send + Sync>;

/// The models of one port, and what they share.
pub struct House {
    /// The models, by the position of their versions.
    pub models: Vec<MockUpstream>,
    /// The faults on them.
    pub switch: Arc<Switch>,
    /// Who came, and how it ended.
    pub book: Arc<Book>,
    /// Its time.
    pub clock: Clock,
    /// How faults are read.
    pub read_faults: ReadFaults,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House")
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

/// Serves a house on a listener for ever.
pub async fn serve(listener: TcpListener, house: Arc<House>) {
    // A mock just ends.
    let drain = Arc::new(Drain::default());
    server::serve(listener, Limits::default(), drain, |stream| {
        let house = house.clone();
        let is_near = is_near(&stream);
        let socket = Socket::new(stream);
        let connection = socket.clone();
        let handler = move |request| answer(house.clone(), request, connection.clone(), is_near);
        (socket, handler)
    })
    .await;
}

/// Does it come from the same machine?
fn is_near(stream: &TcpStream) -> bool {
    stream
        .peer_addr()
        .is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}

async fn answer(
    house: Arc<House>,
    request: Request<Incoming>,
    connection: Socket,
    is_near: bool,
) -> Result<Reply, Break> {
    if request.uri().path().starts_with("/admin/") {
        return admin::answer(&house, request, is_near).await;
    }
    let find = |body: &[u8]| house.model_for(body);
    native::respond(house.names(), find, request, &connection).await
}

/// What is looked for in a body, to know whom it is for.
#[derive(Deserialize)]
struct Addressee<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
}

impl House {
    /// The names of its models.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.model.as_str())
    }

    /// The model that a body is for. What is for none is for the first, which refuses it and writes it down.
    fn model_for(&self, body: &[u8]) -> Option<&MockUpstream> {
        let [first, others @ ..] = self.models.as_slice() else {
            return None;
        };
        if others.is_empty() {
            return Some(first);
        }
        let asked = serde_json::from_slice::<Addressee<'_>>(body).ok();
        let found = asked.and_then(|asked| others.iter().find(|m| m.model == asked.model));
        Some(found.unwrap_or(first))
    }
}
