//! What a mutant is: a defect, where it is known from, and who must catch it.

use std::fmt;
use std::sync::Arc;

use graygate::experiment::Experiment;
use graygate::observe::meta::Engine;
use graygate::protocol::chat::Forward;
use graygate::router::config::RouterConfig;
use graygate::router::core::Core;
use graygate::runner::RunOptions;

use crate::broken::{Defect, broken, router};
use crate::{boundary, inner};

/// Makes the core of a run.
type Make = Arc<dyn Fn(&Experiment) -> Box<dyn Core> + Send + Sync>;

/// A router with one defect.
pub(crate) struct Mutant {
    /// Its name, in the scoreboard and on the command line.
    pub(crate) id: &'static str,
    /// What is wrong with it, as the end of "a router that …".
    pub(crate) says: &'static str,
    /// Where the defect is known from.
    pub(crate) source: Source,
    /// In the real core's inputs, actions and configuration, or in the port of the articles' router.
    pub(crate) kind: Kind,
    /// Who must catch it; the first one is who is named first.
    pub(crate) caught: Vec<Catch>,
    core: Option<Make>,
    forward: Option<Forward>,
}

/// Where a defect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boundary,
    Inner,
}

/// Where a defect is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// One of the fifteen of the articles' sketches (docs/defects.md).
    Defect(u8),
    /// Public issues of other gateways, by the numbers of the failure catalogue, and their family.
    Entries(&'static [u8], u8),
    /// A family of failures of the catalogue.
    Family(u8),
    /// Thought of here.
    Own,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defect(n) => write!(f, "defect {n}"),
            Self::Entries(entries, family) => {
                let numbers: Vec<String> = entries.iter().map(u8::to_string).collect();
                write!(f, "F{family}: {}", numbers.join(", "))
            }
            Self::Family(family) => write!(f, "F{family}"),
            Self::Own => f.write_str("own"),
        }
    }
}

/// A gate of a scenario that must fail, and for what reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Catch {
    /// The shipped scenario.
    pub(crate) scenario: &'static str,
    /// The gate, with its number where there are several: `requests#2`.
    pub(crate) gate: &'static str,
    /// A part of the condition that does not hold.
    pub(crate) about: &'static str,
}

impl Mutant {
    /// Another core than the built-in one.
    pub(crate) fn of_core(
        id: &'static str,
        says: &'static str,
        source: Source,
        make: impl Fn(&Experiment) -> Box<dyn Core> + Send + Sync + 'static,
    ) -> Self {
        Self {
            id,
            says,
            source,
            kind: Kind::Boundary,
            caught: Vec::new(),
            core: Some(Arc::new(make)),
            forward: None,
        }
    }

    /// The built-in core behind a decorator.
    pub(crate) fn of_defect<D: Defect + 'static>(
        id: &'static str,
        says: &'static str,
        source: Source,
        make: impl Fn(&Experiment) -> D + Send + Sync + 'static,
    ) -> Self {
        Self::of_core(id, says, source, move |e| {
            Box::new(broken(router((*e.router).clone(), e.seed), make(e)))
        })
    }

    /// The built-in core with another configuration than its file says.
    pub(crate) fn of_config(
        id: &'static str,
        says: &'static str,
        source: Source,
        change: impl Fn(&mut RouterConfig) + Send + Sync + 'static,
    ) -> Self {
        Self::of_core(id, says, source, move |e| {
            let mut config = (*e.router).clone();
            change(&mut config);
            Box::new(router(config, e.seed))
        })
    }

    /// The built-in core before a driver that changes bodies.
    pub(crate) fn of_bodies(
        id: &'static str,
        says: &'static str,
        source: Source,
        forward: Forward,
    ) -> Self {
        Self {
            core: None,
            forward: Some(forward),
            ..Self::of_core(id, says, source, |e| {
                Box::new(router((*e.router).clone(), e.seed))
            })
        }
    }

    /// The same before a driver that changes bodies.
    pub(crate) fn with_bodies(self, forward: Forward) -> Self {
        Self {
            forward: Some(forward),
            ..self
        }
    }

    /// The same, known from elsewhere.
    pub(crate) fn source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// Switches of the port.
    pub(crate) fn inner(self) -> Self {
        Self {
            kind: Kind::Inner,
            ..self
        }
    }

    /// This gate of this scenario must fail by a check about this.
    pub(crate) fn caught(
        mut self,
        scenario: &'static str,
        gate: &'static str,
        about: &'static str,
    ) -> Self {
        self.caught.push(Catch {
            scenario,
            gate,
            about,
        });
        self
    }

    /// How a run with it is made.
    pub(crate) fn options(&self) -> RunOptions {
        let mut options = RunOptions::new(Engine::Virtual);
        options.core.clone_from(&self.core);
        options.forward = self.forward.unwrap_or(options.forward);
        options
    }

    /// The scenarios that must catch it, each once, in the order in which they are named.
    pub(crate) fn scenarios(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = Vec::new();
        for catch in &self.caught {
            if !names.contains(&catch.scenario) {
                names.push(catch.scenario);
            }
        }
        names
    }
}

/// All of them: those of the boundary, then those of the port.
pub(crate) fn all() -> Vec<Mutant> {
    let mut all = boundary::all();
    all.extend(inner::all());
    all
}
