//! What a gateway is told of its run: what stands in the slots of its command, its variables and its files.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;

use hyper::Uri;

use crate::experiment::external::{self, Slot};
use crate::live::clock;
use crate::live::target::Setting;

/// Below those of outgoing connections: Linux begins at 32,768, others at 49,152.
const PORTS: Range<u16> = 20_000..32_000;
/// How many of them are tried.
const PORT_DRAWS: u32 = 100;

/// What is chosen for a run of a gateway.
pub(super) struct Slots<'a> {
    /// Its port on 127.0.0.1.
    pub(super) port: u16,
    /// A second one, for whoever gives it orders.
    admin_port: u16,
    /// The key that callers show.
    pub(super) key: String,
    folder: String,
    graygate: String,
    setting: &'a Setting<'a>,
}

impl<'a> Slots<'a> {
    /// A free port, a new key, and where everything is.
    ///
    /// # Errors
    /// When there is no free port, or nobody knows where this program is.
    pub(super) fn new(setting: &'a Setting<'a>, folder: &Path) -> io::Result<Self> {
        let [port, admin_port] = free_ports()?;
        Ok(Self {
            port,
            admin_port,
            key: format!("sk-run-{}", clock::secret_word()),
            folder: text(folder)?,
            graygate: text(&std::env::current_exe()?)?,
            setting,
        })
    }

    /// A path of the gateway.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A template with its slots filled.
    pub(super) fn fill(&self, template: &str) -> String {
        external::fill(template, |slot| self.value(slot))
    }

    fn value(&self, slot: Slot<'_>) -> Option<String> {
        match slot {
            Slot::Port => Some(self.port.to_string()),
            Slot::AdminPort => Some(self.admin_port.to_string()),
            // An order knows: it is filled in later.
            Slot::Weight(_) => None,
            Slot::Folder => Some(self.folder.clone()),
            Slot::Graygate => Some(self.graygate.clone()),
            Slot::Key => Some(self.key.clone()),
            Slot::UpstreamUrl(version) => Some(self.upstream(version)?.to_owned()),
            Slot::UpstreamPort(version) => {
                let base: Uri = self.upstream(version)?.parse().ok()?;
                Some(base.port_u16()?.to_string())
            }
        }
    }

    fn upstream(&self, version: &str) -> Option<&str> {
        let mut all = self
            .setting
            .names
            .iter()
            .zip(self.setting.upstreams.values());
        let (_, base) = all.find(|(name, _)| **name == version)?;
        Some(base)
    }
}

/// Ports that nobody has. They are free until the gateway takes them, since not every server takes a port that is held for it.
fn free_ports() -> io::Result<[u16; 2]> {
    // Both are held at once, so that they differ.
    let (one, other) = (free_port()?, free_port()?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

/// One by chance out of those that no system gives to connections that go out: among these, somebody could have it before the
/// gateway does. Whatever the system gives where there is none.
fn free_port() -> io::Result<TcpListener> {
    let listener = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let mut drawn = (0..PORT_DRAWS).map(|_| {
        let place = RandomState::new().hash_one(()) % PORTS.len() as u64;
        PORTS.start + place as u16
    });
    let found = drawn.find_map(|port| listener(port).ok());
    found.map_or_else(|| listener(0), Ok)
}

fn text(path: &Path) -> io::Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| io::Error::other(format!("{} is not in UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_its_value() {
        let setting = Setting {
            names: vec!["v1", "v2"],
            upstreams: ["http://127.0.0.1:81/v1", "http://127.0.0.1:82/v1"]
                .map(str::to_owned)
                .into_iter()
                .collect(),
            log: None,
        };
        let slots = Slots::new(&setting, Path::new("/x")).expect("a free port");
        let filled = slots.fill("{{dir}} {{upstream.v2.port}} {{upstream.v1.url}}");
        assert_eq!(filled, "/x 82 http://127.0.0.1:81/v1");
        let (port, key) = (slots.port, slots.key.as_str());
        assert_eq!(slots.fill("{{port}} {{key}}"), format!("{port} {key}"));
        let admin_port = slots.admin_port;
        assert_eq!(
            slots.fill("{{admin_port}} {{weight.v1}}"),
            format!("{admin_port} {{{{weight.v1}}}}")
        );
        assert_ne!(admin_port, port);
        assert_eq!(slots.url("/v1"), format!("http://127.0.0.1:{port}/v1"));
        assert_ne!(key, Slots::new(&setting, Path::new("/x")).unwrap().key);
        assert!(crate::config::redact::looks_like_key(key));
    }
}
