//! Another gateway as the system under test: how it is started and reached, as plain data.
//!
//! What it is told stands in templates: `{{port}}` in a command, a variable or a file becomes the port that was chosen
//! for it. A template is checked when the scenario is read ([`check`]), and filled in when the run begins ([`fill`]).

pub mod admin;

use std::time::Duration;

use crate::experiment::external::admin::{Admin, Command, Order};
use crate::id::PerVersion;
use crate::time::Timestamp;

/// A gateway that is none of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct External {
    /// How one comes to it.
    pub way: Way,
    /// The ports of the mock upstreams, where they are fixed; free ones are chosen for the others.
    pub ports: PerVersion<Option<u16>>,
    /// Does it close a bad canary by itself?
    pub rolls_back: bool,
    /// How it is given orders.
    pub admin: Option<Admin>,
    /// The orders that the run gives it.
    pub orders: Vec<Order>,
}

/// How one comes to a gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// It runs already, at this base URL, up to and including `/v1`.
    There(String),
    /// It is started for the run, and stopped after it.
    Launch(Launch),
}

/// A gateway's process.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The program and its arguments; templates.
    pub command: Vec<String>,
    /// Variables that it is given besides those of graygate's own process; their values are templates.
    pub env: Vec<(String, String)>,
    /// Files that are written into its folder before; templates.
    pub files: Vec<(String, String)>,
    /// By what it shows that it is ready.
    pub ready: Ready,
    /// The longest time until then.
    pub within: Duration,
}

/// By what a gateway shows that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Its port accepts connections.
    Tcp,
    /// A GET of this path is answered with 2xx.
    Http(String),
}

impl External {
    /// Can its canary be closed, by itself or by an order?
    pub fn can_roll_back(&self) -> bool {
        let admin = self.admin.as_ref();
        self.rolls_back || admin.is_some_and(|admin| admin.rollback.is_some())
    }

    /// When it is told to close its canary, first.
    pub fn first_rollback_order(&self) -> Option<Timestamp> {
        let orders = self.orders.iter();
        let rollbacks = orders.filter(|order| order.what == Command::Rollback);
        rollbacks.map(|order| order.at).min()
    }

    /// Its command, for people, with what is chosen for each run left open; its URL, when it runs already.
    pub fn label(&self) -> String {
        match &self.way {
            Way::There(url) => url.clone(),
            Way::Launch(launch) => launch.command.join(" "),
        }
    }
}

/// Something that a template can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'t> {
    /// The gateway's own port.
    Port,
    /// A second port, for whoever gives it orders.
    AdminPort,
    /// The gateway's own folder.
    Folder,
    /// This very program.
    Graygate,
    /// The key that callers show: a new one for every run.
    Key,
    /// The port of a version's upstream.
    UpstreamPort(&'t str),
    /// The base URL of a version's upstream, up to and including `/v1`.
    UpstreamUrl(&'t str),
    /// The share that an order gives to a version, in percent.
    Weight(&'t str),
}

/// What a template may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The names of the versions.
    pub versions: &'a [String],
    /// Is the gateway started for the run, with ports, a folder and a key of its own?
    pub is_started: bool,
    /// Is it part of an order that sets weights?
    pub has_weights: bool,
}

impl Known<'_> {
    fn has(self, slot: Slot<'_>) -> bool {
        let is_version = |name: &str| self.versions.iter().any(|v| v == name);
        match slot {
            Slot::UpstreamPort(version) | Slot::UpstreamUrl(version) => {
                self.is_started && is_version(version)
            }
            Slot::Weight(version) => self.has_weights && is_version(version),
            Slot::Port | Slot::AdminPort | Slot::Folder | Slot::Graygate | Slot::Key => {
                self.is_started
            }
        }
    }

    /// All of it, for messages.
    pub fn listed(self) -> String {
        let mut all = Vec::new();
        if self.is_started {
            all.push(SLOTS);
        }
        if self.has_weights {
            all.push("{{weight.NAME}}");
        }
        match all.is_empty() {
            true => "a text without {{…}}".to_owned(),
            false => all.join(" or "),
        }
    }
}

/// What every template of a gateway that is started may ask for, for messages.
const SLOTS: &str = "{{port}}, {{admin_port}}, {{dir}}, {{key}}, {{graygate}}, {{upstream.NAME.port}} or \
                     {{upstream.NAME.url}}";

impl<'t> Slot<'t> {
    fn parse(name: &'t str) -> Option<Self> {
        match name {
            "port" => return Some(Self::Port),
            "admin_port" => return Some(Self::AdminPort),
            "dir" => return Some(Self::Folder),
            "graygate" => return Some(Self::Graygate),
            "key" => return Some(Self::Key),
            _ => {}
        }
        if let Some(version) = name.strip_prefix("weight.") {
            return Some(Self::Weight(version));
        }
        let rest = name.strip_prefix("upstream.")?;
        let (version, what) = rest.rsplit_once('.')?;
        match what {
            "port" => Some(Self::UpstreamPort(version)),
            "url" => Some(Self::UpstreamUrl(version)),
            _ => None,
        }
    }
}

/// The text before the next slot, what stands in the slot, and the text after it.
fn next_slot(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name.trim(), after))
}

/// Does a template ask only for what there is? Else the first slot that nobody can fill.
///
/// # Errors
/// What stands in that slot.
pub fn check<'t>(template: &'t str, known: Known<'_>) -> Result<(), &'t str> {
    let mut rest = template;
    while let Some((_, name, after)) = next_slot(rest) {
        if !Slot::parse(name).is_some_and(|slot| known.has(slot)) {
            return Err(name);
        }
        rest = after;
    }
    Ok(())
}

/// A template with its slots filled. One that nobody can fill stays as it stands.
pub fn fill(template: &str, value: impl Fn(Slot<'_>) -> Option<String>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, name, after)) = next_slot(rest) {
        text.push_str(before);
        match Slot::parse(name).and_then(&value) {
            Some(value) => text.push_str(&value),
            None => text.push_str(&format!("{{{{{name}}}}}")),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_filled_and_everything_else_stays() {
        let value = |slot: Slot<'_>| match slot {
            Slot::Port => Some("81".to_owned()),
            Slot::UpstreamPort("v1.2") => Some("82".to_owned()),
            Slot::UpstreamUrl("v1.2") => Some("http://x/v1".to_owned()),
            _ => None,
        };
        for (template, text) in [
            ("", ""),
            ("--port={{port}}", "--port=81"),
            ("{{ port }}{{port}}", "8181"),
            (
                "{{upstream.v1.2.port}} {{upstream.v1.2.url}}",
                "82 http://x/v1",
            ),
            ("{\"a\": {\"b\": 1}}", "{\"a\": {\"b\": 1}}"),
            ("{{nobody}} {{port", "{{nobody}} {{port"),
        ] {
            assert_eq!(fill(template, value), text, "{template}");
        }
    }

    #[test]
    fn a_slot_that_nobody_can_fill_is_found() {
        let versions = ["v1".to_owned()];
        let known = Known {
            versions: &versions,
            is_started: true,
            has_weights: false,
        };
        let wrong = |template| check(template, known).err();
        assert_eq!(wrong("{{port}} {{dir}} {{key}} {{graygate}}"), None);
        assert_eq!(wrong("{{upstream.v1.url}} {{upstream.v1.port}}"), None);
        assert_eq!(wrong("{{upstream.v2.url}}"), Some("upstream.v2.url"));
        assert_eq!(wrong("{{upstream.v1.host}}"), Some("upstream.v1.host"));
        assert_eq!(wrong("{{port}} {{prot}}"), Some("prot"));
        assert_eq!(wrong("{{admin_port}} {{weight.v1}}"), Some("weight.v1"));
        let order = Known {
            is_started: false,
            has_weights: true,
            ..known
        };
        let wrong = |template| check(template, order).err();
        assert_eq!(wrong("{{weight.v1}}"), None);
        assert_eq!(wrong("{{weight.v2}}"), Some("weight.v2"));
        assert_eq!(wrong("{{weight.v1}} {{key}}"), Some("key"));
    }
}
