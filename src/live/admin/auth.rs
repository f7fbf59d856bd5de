//! Who may use the admin API: whoever knows the token, or, without one, whoever is on this machine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::live::admin::Admin;
use crate::live::admin::problem::Problem;
use crate::live::http;

/// The secret of those who may. It keeps only a digest, and shows itself to nobody.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token of this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Is this the token? How long it takes says nothing of the token, not even of its length.
    pub fn is(&self, text: &str) -> bool {
        self.0.ct_eq(&Self::new(text).0).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// May the API listen here? Without a token only where nobody but this machine can reach it.
pub fn may_listen(address: SocketAddr, has_token: bool) -> bool {
    has_token || address.ip().is_loopback()
}

/// Lets through who may.
pub async fn guard(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let is_open = matches!(request.uri().path(), "/healthz" | "/readyz");
    let verdict = match &admin.config.token {
        _ if is_open => Ok(()),
        Some(token) => shows(request.headers(), token),
        None => is_no_browser(request.headers()),
    };
    match verdict {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn shows(headers: &HeaderMap, token: &Token) -> Result<(), Problem> {
    let given = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    match given {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("bearer") => {
            let message = "this is not the token";
            let wrong = || Problem::new(401, "wrong_token", message);
            token.is(text.trim()).then_some(()).ok_or_else(wrong)
        }
        _ => {
            let message = "the header `Authorization: Bearer TOKEN` is missing";
            Err(Problem::new(401, "missing_token", message))
        }
    }
}

/// Without a token, a web page that this machine's user happens to look at must not be able to change
/// anything: neither from its own site, nor by a name that it makes point to this machine.
fn is_no_browser(headers: &HeaderMap) -> Result<(), Problem> {
    let is_page = headers.contains_key(ORIGIN);
    let host = http::header(headers, HOST.as_str());
    if is_page || !host.is_none_or(is_this_machine) {
        let message = "without a token the admin API answers no web pages, and only to this \
                       machine's own name: set GRAYGATE_ADMIN_TOKEN";
        return Err(Problem::new(403, "not_from_here", message));
    }
    Ok(())
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token = Token::new("a-token-of-some-length");
        assert!(token.is("a-token-of-some-length"));
        for other in [
            "",
            "a-token-of-some-lengti",
            "a-token-of-some-length ",
            "a-token",
        ] {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(***)");
    }

    #[test]
    fn without_a_token_only_this_machine_is_listened_to() {
        for (address, loopback) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(may_listen(address, false), loopback, "{address}");
            assert!(may_listen(address, true));
        }
    }

    #[test]
    fn this_machine_has_few_names() {
        for (host, is_here) in [
            ("127.0.0.1:8081", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("[::1]:8081", true),
            ("evil.example:8081", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(host), is_here, "{host}");
        }
    }
}
