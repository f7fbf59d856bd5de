//! `kind` of a fault, with the parameters that belong to it; parameters of other kinds are unknown keys.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::fields::{Cx, Fields};
use crate::config::node::{Node, Value};
use crate::config::values;
use crate::fault::kind::FaultKind;
use crate::upstream::odd::Shape;
use crate::upstream::stream::Breakage;
use crate::upstream::wish::Wish;

/// Reads the kind. None means that mistakes were reported.
pub(super) fn read(fields: &Fields<'_, '_>) -> Option<FaultKind> {
    let names = FaultKind::NAMES.map(|name| (name, name));
    let words: Vec<_> = names.into_iter().chain(FaultKind::ALIASES).collect();
    let kind = fields.required("kind", "unauthorized, timeout …", |cx, n| {
        values::word(cx, n, "a kind of fault", &words)
    })?;
    refusal(fields, kind)
        .or_else(|| of_a_stream(fields, kind))
        .or_else(|| odd(fields, kind))
}

/// Kinds of which only streams break.
fn of_a_stream(fields: &Fields<'_, '_>, kind: &str) -> Option<FaultKind> {
    let how = Breakage::ALL.into_iter().find(|how| how.name() == kind)?;
    let after = fields.optional("after", tokens);
    let (after, has_role) = after.unwrap_or((5, false));
    Some(FaultKind::Stream {
        how,
        after,
        has_role,
    })
}

/// Tokens that come before a stream breaks, and whether it is said before that who speaks, if none do.
fn tokens(cx: Cx<'_>, node: &Node) -> Option<(u32, bool)> {
    if matches!(&node.value, Value::Scalar(word) if word == "role") {
        return Some((0, true));
    }
    match u32::try_from(values::count(cx, node)?) {
        Ok(tokens) => Some((tokens, false)),
        Err(_) => cx.wrong(node, "a number of tokens", "0, role, 5, 100"),
    }
}

/// Kinds that are a refusal of the upstream's; none for others.
fn refusal(fields: &Fields<'_, '_>, kind: &str) -> Option<FaultKind> {
    let status = |read: StatusReader, default| fields.optional("status", read).unwrap_or(default);
    let wish = || fields.optional("retry_after", wish);
    Some(match kind {
        "unauthorized" => FaultKind::Unauthorized,
        "forbidden" => FaultKind::Forbidden {
            status: status(forbidden, 403),
        },
        "request_timeout" => FaultKind::RequestTimeout,
        "rate_limited" => FaultKind::RateLimited {
            retry_after: wish(),
        },
        "insufficient_quota" => FaultKind::InsufficientQuota,
        "model_not_found" => FaultKind::ModelNotFound,
        "bad_request" => FaultKind::BadRequest {
            status: status(bad_request, 400),
        },
        "context_length" => FaultKind::ContextLength,
        "content_filter" => FaultKind::ContentFilter {
            as_answer: status(filter, 400) == 200,
        },
        "overloaded" => FaultKind::Overloaded {
            status: status(overloaded, 503),
            retry_after: wish(),
        },
        "server_error" => FaultKind::ServerError {
            status: status(server_error, 500),
        },
        _ => return None,
    })
}

/// Kinds that are no refusal.
fn odd(fields: &Fields<'_, '_>, kind: &str) -> Option<FaultKind> {
    let shapes = |cx: Cx<'_>, n: &Node| values::word(cx, n, "a shape", &Shape::NAMED);
    Some(match kind {
        "timeout" => FaultKind::Timeout,
        "reset" => FaultKind::Reset,
        "close" => FaultKind::Close,
        "malformed" => FaultKind::Malformed,
        "empty_choices" => FaultKind::EmptyChoices,
        "wrong_content_type" => FaultKind::WrongContentType,
        "schema_drift" => FaultKind::SchemaDrift {
            shape: fields
                .optional("shape", shapes)
                .unwrap_or(Shape::TokensConsumed),
        },
        "cut" => FaultKind::Cut,
        "wrong_content_length" => FaultKind::WrongContentLength,
        "slow_body" => FaultKind::SlowBody {
            over: fields.required("over", "2s", values::positive_duration)?,
        },
        "huge_body" => FaultKind::HugeBody,
        "redirect" => FaultKind::Redirect {
            status: fields.optional("status", redirect).unwrap_or(302),
        },
        "refused" => FaultKind::Refused,
        "tls_failure" => FaultKind::TlsFailure,
        _ => FaultKind::Slow {
            delay: fields.required("delay", "2s", values::positive_duration)?,
        },
    })
}

/// How long to wait, and how the answer says so: `5s`, `{date: 5s}`, `{ms: 250ms}`, `{body: 5s}`,
/// `negative`, `absurd`.
fn wish(cx: Cx<'_>, node: &Node) -> Option<Wish> {
    match &node.value {
        Value::Scalar(word) if word == "negative" => Some(Wish::Negative),
        Value::Scalar(word) if word == "absurd" => Some(Wish::Absurd),
        Value::Map(_) => {
            let forms = ["seconds", "date", "ms", "body"];
            let entry = cx.choice(node, "a way to ask for a wait", &forms)?;
            let value = &entry.value;
            Some(match entry.key.as_str() {
                "seconds" => Wish::Seconds(whole_seconds(cx, value)?),
                "date" => Wish::Date(sane(cx, value)?),
                "ms" => Wish::Millis(whole_millis(cx, value)?),
                _ => Wish::Body(sane(cx, value)?),
            })
        }
        _ => whole_seconds(cx, node).map(Wish::Seconds),
    }
}

/// No reader believes in a wait of more than a year.
fn sane(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    let value = values::duration(cx, node)?;
    if value > Duration::from_secs(366 * 86_400) {
        return cx.wrong(
            node,
            "a wait that can be meant",
            "at most a year, or `absurd`",
        );
    }
    Some(value)
}

/// `Retry-After` knows whole seconds only.
fn whole_seconds(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    let value = sane(cx, node)?;
    if value.subsec_nanos() != 0 {
        return cx.wrong(
            node,
            "a whole number of seconds",
            "1s, 30s, 2m; or {ms: 1500ms}",
        );
    }
    Some(value)
}

/// `retry-after-ms` knows whole milliseconds only.
fn whole_millis(cx: Cx<'_>, node: &Node) -> Option<Duration> {
    let value = sane(cx, node)?;
    if value.subsec_nanos() % 1_000_000 != 0 {
        return cx.wrong(node, "a whole number of milliseconds", "250ms, 2s");
    }
    Some(value)
}

/// Reads a status.
type StatusReader = fn(Cx<'_>, &Node) -> Option<u16>;

fn status_of(
    cx: Cx<'_>,
    node: &Node,
    what: &str,
    expected: &str,
    is_fine: impl Fn(u16) -> bool,
) -> Option<u16> {
    let status = u16::try_from(values::count(cx, node)?).ok();
    match status.filter(|status| is_fine(*status)) {
        Some(status) => Some(status),
        None => cx.wrong(node, what, expected),
    }
}

fn in_range(
    cx: Cx<'_>,
    node: &Node,
    what: &str,
    expected: &str,
    range: RangeInclusive<u16>,
) -> Option<u16> {
    status_of(cx, node, what, expected, |status| range.contains(&status))
}

fn server_error(cx: Cx<'_>, node: &Node) -> Option<u16> {
    in_range(cx, node, "a server error", "500 to 599", 500..=599)
}

fn redirect(cx: Cx<'_>, node: &Node) -> Option<u16> {
    in_range(cx, node, "a redirection", "300 to 399", 300..=399)
}

fn forbidden(cx: Cx<'_>, node: &Node) -> Option<u16> {
    in_range(cx, node, "a refused key", "402 or 403", 402..=403)
}

fn overloaded(cx: Cx<'_>, node: &Node) -> Option<u16> {
    let is_fine = |status| matches!(status, 503 | 529);
    status_of(cx, node, "an overload", "503 or 529", is_fine)
}

fn filter(cx: Cx<'_>, node: &Node) -> Option<u16> {
    let expected = "400 (a refusal) or 200 (an answer with finish_reason content_filter)";
    let is_fine = |status| matches!(status, 200 | 400);
    status_of(cx, node, "a filter's answer", expected, is_fine)
}

/// Other kinds speak of those that have a meaning of their own.
fn bad_request(cx: Cx<'_>, node: &Node) -> Option<u16> {
    let expected = "400 to 499, but for 401, 402, 403, 404, 408 and 429, which are other kinds";
    let is_fine = |status| {
        let is_other = matches!(status, 401..=404 | 408 | 429);
        (400..=499).contains(&status) && !is_other
    };
    status_of(
        cx,
        node,
        "a refusal of the request itself",
        expected,
        is_fine,
    )
}
