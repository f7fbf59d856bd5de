//! How a mock's upstreams behave, with faults that can be replaced while it serves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::fault::inject::{Response, Upstreams};
use crate::fault::schedule::Fault;
use crate::time::Timestamp;
use crate::upstream::profile::Ask;

/// What is in force, and what was.
#[derive(Debug)]
pub struct Switch {
    in_force: RwLock<Arc<InForce>>,
    /// The names of the newest 65,536 faults by their numbers: whoever reads the ledger later asks for one that
    /// may not be in force any more.
    names: Mutex<Vec<&'static str>>,
}

/// What is in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The upstreams with their faults.
    pub upstreams: Upstreams,
    /// The number of the first fault.
    first: u16,
}

impl Switch {
    /// These upstreams, with the faults that they have.
    pub fn new(upstreams: Upstreams) -> Self {
        let names = upstreams.faults.iter().map(|f| f.kind.name()).collect();
        let in_force = InForce {
            upstreams,
            first: 0,
        };
        Self {
            in_force: RwLock::new(Arc::new(in_force)),
            names: Mutex::new(names),
        }
    }

    /// What is in force now.
    pub fn in_force(&self) -> Arc<InForce> {
        let in_force = self.in_force.read();
        in_force.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The response to an attempt. Its fault is numbered among all that were ever in force.
    pub fn respond(&self, ask: &Ask, at: Timestamp) -> Response {
        let in_force = self.in_force();
        let response = in_force.upstreams.respond(ask, at);
        Response {
            fault: response.fault.map(|n| in_force.first.wrapping_add(n)),
            ..response
        }
    }

    /// Puts these faults in the place of those that were.
    pub fn replace(&self, faults: Vec<Fault>) {
        let in_force = self.in_force.write();
        let mut in_force = in_force.unwrap_or_else(PoisonError::into_inner);
        // No list is as long as the numbers go: readers of faults see to that.
        let before = in_force.upstreams.faults.len() as u16;
        let first = in_force.first.wrapping_add(before);
        self.note_names(first, &faults);
        let mut upstreams = in_force.upstreams.clone();
        upstreams.faults = faults;
        *in_force = Arc::new(InForce { upstreams, first });
    }

    /// The name of a fault by its number.
    pub fn name(&self, number: u16) -> Option<&'static str> {
        self.names().get(usize::from(number)).copied()
    }

    fn note_names(&self, first: u16, faults: &[Fault]) {
        let mut names = self.names();
        let mut number = first;
        for fault in faults {
            let name = fault.kind.name();
            match names.get_mut(usize::from(number)) {
                Some(old) => *old = name,
                // Numbers go up by one, so this is the next.
                None => names.push(name),
            }
            number = number.wrapping_add(1);
        }
    }

    fn names(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::kind::FaultKind;
    use crate::id::{PerVersion, RequestKey, Seed, VersionId};
    use crate::rng::distribution::Distribution;
    use crate::upstream::profile::{Profile, Timing};

    fn always(kind: FaultKind) -> Fault {
        Fault::always(kind, vec![VersionId(0)])
    }

    #[test]
    fn a_fault_keeps_its_name_when_others_take_its_place() {
        let profile = Profile::of(Timing::Whole(Distribution::Constant(0.01)));
        let switch = Switch::new(Upstreams {
            seed: Seed(1),
            profiles: PerVersion::from_fn(1, |_| profile.clone()),
            faults: vec![always(FaultKind::Reset)],
        });
        let ask = Ask {
            key: RequestKey(1),
            version: VersionId(0),
            nth: 0,
            input_tokens: 1,
            max_tokens: None,
            stream: false,
            is_prefilled: false,
            recorded: None,
        };
        let hit = || {
            let number = switch.respond(&ask, Timestamp::ZERO).fault;
            number.map(|number| (number, switch.name(number)))
        };
        assert_eq!(hit(), Some((0, Some("reset"))));
        switch.replace(Vec::new());
        assert_eq!(hit(), None);
        for round in 0..70_000_u32 {
            let kind = match round % 2 {
                0 => FaultKind::Unauthorized,
                _ => FaultKind::Timeout,
            };
            switch.replace(vec![always(kind)]);
        }
        assert_eq!(hit(), Some((4_464, Some("timeout"))));
        assert_eq!(switch.name(4_463), Some("unauthorized"));
        assert_eq!(switch.names().len(), 65_536);
    }
}
