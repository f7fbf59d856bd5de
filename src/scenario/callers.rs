//! `users`, `tenants` and `cancel`: who sends made-up requests, and who does not wait for the answer.

use crate::config::fields::Cx;
use crate::config::node::{Entry, Node, Value};
use crate::config::values;
use crate::scenario::arrivals::wait;
use crate::traffic::cancel::Cancel;
use crate::traffic::users::{Tenants, Users};

/// What reckoning in floating point may be off by.
const ROUNDING: f64 = 1e-9;
const TENANTS: &str = "a share of the users a tenant, like {acme: 60%, globex: 40%}";
/// More tenants than this are a mistake.
const MOST_TENANTS: usize = 1_000;

/// Reads `users`, without tenants. None means that mistakes were reported.
pub fn users(cx: Cx<'_>, node: &Node) -> Option<Users> {
    let fields = cx.fields(node, "users")?;
    let count = fields.optional("count", user_count);
    let premium = fields.optional("premium", values::share);
    fields.finish();
    Some(Users {
        count,
        premium: premium.unwrap_or(0.0),
        tenants: Tenants::default(),
    })
}

fn user_count(cx: Cx<'_>, node: &Node) -> Option<u32> {
    match values::positive(cx, node)? {
        n @ 1..=1_000_000 => Some(n),
        _ => cx.wrong(node, "a sane number of users", "1 to 1000000"),
    }
}

/// Reads `tenants`. None means that mistakes were reported.
pub fn tenants(cx: Cx<'_>, node: &Node) -> Option<Tenants> {
    let Value::Map(entries) = &node.value else {
        return cx.wrong(node, "a mapping of shares", TENANTS);
    };
    if entries.is_empty() || entries.len() > MOST_TENANTS {
        return cx.wrong(node, "a sane number of tenants", "1 to 1000");
    }
    let read: Vec<_> = entries.iter().map(|e| tenant(cx, e)).collect();
    let tenants = Tenants(read.into_iter().collect::<Option<_>>()?);
    if tenants.share() > 1.0 + ROUNDING {
        let message = "the tenants have more than all users";
        return cx.error(cx.at(node.place, message).expected(TENANTS));
    }
    Some(tenants)
}

fn tenant(cx: Cx<'_>, entry: &Entry) -> Option<(String, f64)> {
    let share = values::share(cx, &entry.value);
    let is_name =
        (1..=64).contains(&entry.key.len()) && entry.key.bytes().all(|b| b.is_ascii_graphic());
    if !is_name {
        let message = "this cannot be sent as the name of a tenant";
        let expected = "1 to 64 printable ASCII characters without spaces";
        return cx.error(cx.at(entry.place, message).expected(expected));
    }
    Some((entry.key.clone(), share?))
}

/// Reads `cancel`. None means that mistakes were reported.
pub fn cancel(cx: Cx<'_>, node: &Node) -> Option<Cancel> {
    let fields = cx.fields(node, "cancel")?;
    let share = fields.required("share", "2%", values::share);
    let after = fields.required("after", "300ms or {exponential: 300ms}", |cx, n| {
        wait(cx, n, "a time to hang up after")
    });
    fields.finish();
    Some(Cancel {
        share: share?,
        after: after?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read;
    use crate::rng::distribution::Distribution;

    #[test]
    fn tenants_and_hang_ups_as_written() {
        let mix = read("{acme: 60%, globex: 40%}", tenants).unwrap();
        assert_eq!(mix.0[1], ("globex".to_owned(), 0.4));
        let read = read("{share: 2%, after: 300ms}", cancel);
        let after = Distribution::Constant(0.3);
        assert_eq!(read, Ok(Cancel { share: 0.02, after }));
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_what_was_expected() {
        for (text, message, expected) in [
            (
                "{acme: 60%, globex: 41%}",
                "more than all users",
                "acme: 60%",
            ),
            ("{acme: 0.6}", "`0.6` is not a share", "like 30%"),
            ("{a b: 60%}", "cannot be sent", "printable"),
            ("{}", "not a sane number of tenants", "1 to 1000"),
            ("acme", "`acme` is not a mapping of shares", "acme: 60%"),
        ] {
            let error = read(text, tenants).expect_err(text);
            assert!(error.contains("t.yaml:1:"), "{text}: {error}");
            assert!(error.contains(message), "{text}: {error}");
            assert!(error.contains(expected), "{text}: {error}");
        }
        for (text, message) in [
            ("{share: 2%}", "`after` is missing in cancel"),
            ("{after: 2s}", "`share` is missing in cancel"),
            ("{share: 200%, after: 2s}", "`200%` is not a share"),
            ("{share: 2%, after: -2s}", "`-2s` is not a duration"),
            (
                "{share: 2%, after: {lognormal: {median: 2s, p99: 1s}}}",
                "below the median",
            ),
        ] {
            let error = read(text, cancel).expect_err(text);
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
