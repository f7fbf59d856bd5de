//! The core behind one lock: reads the clock under it, carries orders to the requests' tasks, and
//! wakes the core when its time comes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::id::{AttemptId, IdMap, RequestId, RequestKey, VersionId};
use crate::live::clock::Clock;
use crate::live::gateway::input_log::{InputLog, LoggedCall};
use crate::live::gateway::orders::{Giver, Taker, orders};
use crate::live::outbox::Outbox;
use crate::observe::bridge;
use crate::observe::event::What;
use crate::router::config::RouterConfig;
use crate::router::control::{Control, ControlId, Order, Refusal};
use crate::router::core::{Core, Footprint};
use crate::router::deployment::Change;
use crate::router::io::{Action, Event, Failure, Input, RequestFacts, Served, Standing};
use crate::time::Timestamp;

/// An order of the core to the task of a request.
#[derive(Debug)]
pub enum Command {
    /// Send the request to a version.
    Send {
        /// The new attempt.
        attempt: AttemptId,
        /// Where to.
        version: VersionId,
    },
    /// Stop the attempt that is out.
    Cancel(AttemptId),
    /// Give the caller the answer that is held.
    Forward(Served),
    /// Give the caller an error.
    Fail(Failure),
}

/// Drives a core in real time.
pub struct Driver {
    inner: Mutex<Inner>,
    clock: Clock,
    /// Rung when the core wants to be woken earlier than planned.
    earlier: Notify,
    outbox: Outbox,
    /// The revision of what new requests belong to.
    revision: AtomicU64,
    /// Where changes are kept; nowhere when absent.
    store: Mutex<Store>,
}

/// Where changes go.
enum Store {
    /// There is none: nothing has to survive.
    None,
    /// To whoever keeps them.
    Open(StoreSender),
    /// Nowhere any more: the process comes to its end.
    Closed,
}

/// Takes changes to keep, each with its number, in their order. Whoever holds the other end answers
/// each with [`Input::Persisted`].
pub type StoreSender = std::sync::mpsc::Sender<(u64, Box<Change>)>;

/// A request that has just arrived.
pub struct Arrival {
    /// Its id.
    pub request: RequestId,
    /// The orders for its task.
    pub orders: Taker<Command>,
    /// What it belongs to, if that is another configuration than its task has seen.
    pub adopted: Option<Adopted>,
}

/// A configuration, with its revision.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The revision it came with.
    pub revision: u64,
    /// The configuration.
    pub config: Arc<RouterConfig>,
}

struct Inner {
    core: Box<dyn Core>,
    last: Timestamp,
    /// When the timer task will look next.
    planned: Timestamp,
    next_id: u64,
    tasks: IdMap<RequestId, Task>,
    log: Option<InputLog>,
    /// What new requests belong to.
    adopted: Adopted,
    /// Who waits for the answer to an order.
    askers: IdMap<ControlId, Asker>,
    next_control: u64,
}

type Asker = oneshot::Sender<Result<Standing, Refusal>>;

struct Task {
    key: RequestKey,
    commands: Giver<Command>,
    /// The attempt that is out.
    out: Option<AttemptId>,
}

impl Driver {
    /// A driver of `core`. What the core says goes to `outbox`; its inputs are kept if `log` says so.
    pub fn new(
        core: Box<dyn Core>,
        config: Arc<RouterConfig>,
        clock: Clock,
        outbox: Outbox,
        log: bool,
    ) -> Arc<Self> {
        Self::with_store(core, config, clock, outbox, log, None)
    }

    /// The same, with a place where changes of the release are kept.
    pub fn with_store(
        core: Box<dyn Core>,
        config: Arc<RouterConfig>,
        clock: Clock,
        outbox: Outbox,
        log: bool,
        store: Option<StoreSender>,
    ) -> Arc<Self> {
        let adopted = Adopted {
            revision: 0,
            config,
        };
        let driver = Arc::new(Self {
            inner: Mutex::new(Inner {
                core,
                last: Timestamp::ZERO,
                planned: Timestamp::MAX,
                next_id: 0,
                tasks: IdMap::default(),
                log: log.then(InputLog::default),
                adopted,
                askers: IdMap::default(),
                next_control: 0,
            }),
            clock,
            earlier: Notify::new(),
            outbox,
            revision: AtomicU64::new(0),
            store: Mutex::new(store.map_or(Store::None, Store::Open)),
        });
        // What the core has to say as it begins.
        driver.input([]);
        driver
    }

    /// Asks for a change of the release, and waits for the answer.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn order(&self, based_on: Option<u64>, order: Order) -> Result<Standing, Refusal> {
        let (asker, answer) = oneshot::channel();
        {
            let mut inner = self.lock();
            let id = ControlId(inner.next_control);
            inner.next_control += 1;
            inner.askers.insert(id, asker);
            let control = Control { based_on, order };
            self.handle(&mut inner, [Input::Control { id, control }]);
        }
        // The core always answers, unless it is gone with the whole process.
        answer.await.unwrap_or(Err(Refusal::Busy))
    }

    /// Keeps no changes from now on, so that whoever does can finish.
    pub fn close_store(&self) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Store::Closed;
    }

    /// What new requests belong to.
    pub fn adopted(&self) -> Adopted {
        self.lock().adopted.clone()
    }

    /// The revision of what new requests belong to. Cheap to ask.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// A new request, for which its task has `seen` this revision.
    ///
    /// Whoever embeds the router decides here which version a request is forced to, where it must not be
    /// left to anything else: a probe of the canary, a tester's session.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use graygate::config::diagnostic::{Problems, Source};
    /// use graygate::config::fields::Cx;
    /// use graygate::config::{router_file, yaml};
    /// use graygate::id::Seed;
    /// use graygate::live::clock::Clock;
    /// use graygate::live::gateway::driver::{Command, Driver};
    /// use graygate::live::outbox::outbox;
    /// use graygate::router::gray::GrayRouter;
    /// use graygate::router::io::RequestFacts;
    /// use graygate::time::Timestamp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let text = "
    /// versions:
    ///   v1: {role: stable, model: gpt-4.1}
    ///   v2: {role: canary, model: gpt-4.1-new}
    /// split: {weights: {v1: 1, v2: 0}}
    /// judge: off
    /// ";
    /// let (source, problems) = (Source::new("router.yaml", text), Problems::default());
    /// let cx = Cx { source: &source, problems: &problems };
    /// let node = yaml::parse(&source).expect("YAML");
    /// let config = Arc::new(router_file::read(cx, &node).expect("a router"));
    ///
    /// let core = GrayRouter::new(config.clone(), Seed(1), Timestamp::ZERO);
    /// let (outbox, _inbox) = outbox();
    /// let driver = Driver::new(Box::new(core), config, Clock::starting_now(), outbox, false);
    ///
    /// // Chance and rules would send nobody to v2.
    /// let adopted = driver.adopted();
    /// let facts = RequestFacts::default().forced_to(&adopted.config, "v2");
    /// let facts = facts.expect("there is a v2");
    /// let mut arrival = driver.arrive(None, facts, adopted.revision);
    /// let order = arrival.orders.recv().await;
    /// let canary = adopted.config.canary;
    /// assert!(matches!(order, Some(Command::Send { version, .. }) if version == canary));
    ///
    /// // What does not exist cannot be forced.
    /// assert!(RequestFacts::default().forced_to(&adopted.config, "v3").is_none());
    /// # }
    /// ```
    pub fn arrive(&self, key: Option<RequestKey>, facts: RequestFacts, seen: u64) -> Arrival {
        let (commands, orders) = orders();
        let mut inner = self.lock();
        let request = RequestId(inner.next_id);
        inner.next_id += 1;
        // Nobody repeats the draws of a gateway in service: there its own number is the key.
        let key = key.unwrap_or(RequestKey(request.0));
        let task = Task {
            key,
            commands,
            out: None,
        };
        inner.tasks.insert(request, task);
        let arrival = Input::Arrival {
            request,
            key,
            facts: Arc::new(facts),
        };
        let adopted = &inner.adopted;
        let adopted = (adopted.revision != seen).then(|| adopted.clone());
        self.handle(&mut inner, [arrival]);
        Arrival {
            request,
            orders,
            adopted,
        }
    }

    /// Things happened, at one moment, in this order.
    pub fn input(&self, inputs: impl IntoIterator<Item = Input>) {
        let mut inner = self.lock();
        self.handle(&mut inner, inputs);
    }

    /// The time on the clock that the core goes by.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the core holds in memory.
    pub fn footprint(&self) -> Footprint {
        self.lock().core.footprint()
    }

    /// The calls of the core since the last time, and whether calls are missing after them; none
    /// when no log is kept.
    pub fn take_calls(&self) -> Option<(Vec<LoggedCall>, bool)> {
        self.lock().log.as_mut().map(InputLog::take)
    }

    /// Keeps no calls from now on: nobody takes them any more.
    pub fn stop_log(&self) {
        self.lock().log = None;
    }

    /// Wakes the core whenever its time comes, for ever.
    pub async fn keep_time(&self) {
        loop {
            let due = {
                let mut inner = self.lock();
                let due = inner.core.poll_timeout().unwrap_or(Timestamp::MAX);
                inner.planned = due;
                due
            };
            tokio::select! {
                () = self.clock.sleep_until(due) => self.timeout(),
                () = self.earlier.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A core that panicked elsewhere is still the only one there is.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, never before any time the core was given.
    fn time(&self, inner: &mut Inner) -> Timestamp {
        inner.last = inner.last.max(self.clock.now());
        inner.last
    }

    fn handle(&self, inner: &mut Inner, inputs: impl IntoIterator<Item = Input>) {
        let now = self.time(inner);
        for input in inputs {
            if let Some(log) = &mut inner.log {
                log.note(now, Some(&input));
            }
            if let Input::AttemptEnded { attempt, .. } = &input
                && let Some(task) = inner.tasks.get_mut(attempt.request)
            {
                task.out.take_if(|out| out == attempt);
            }
            inner.core.handle(now, input);
        }
        self.drain(inner, now);
    }

    fn timeout(&self) {
        let mut inner = self.lock();
        let now = self.time(&mut inner);
        if inner.core.poll_timeout().is_some_and(|due| due <= now) {
            if let Some(log) = &mut inner.log {
                log.note(now, None);
            }
            inner.core.handle_timeout(now);
            self.drain(&mut inner, now);
        }
    }

    /// Passes orders and news on. Only channels are written to, so the lock is held shortly.
    fn drain(&self, inner: &mut Inner, now: Timestamp) {
        while let Some(action) = inner.core.poll_action() {
            self.carry_out(inner, now, action);
        }
        while let Some(event) = inner.core.poll_event() {
            if let Event::RequestEnded { request, .. } = event {
                inner.tasks.remove(request);
            }
            self.outbox.send(now, bridge::fact(event, now));
        }
        let due = inner.core.poll_timeout().unwrap_or(Timestamp::MAX);
        if due < inner.planned {
            inner.planned = due;
            self.earlier.notify_one();
        }
    }

    fn carry_out(&self, inner: &mut Inner, now: Timestamp, action: Action) {
        let (request, command) = match action {
            Action::Adopt { revision, config } => {
                inner.adopted = Adopted { revision, config };
                self.revision.store(revision, Ordering::Release);
                return;
            }
            Action::Answer { id, answer } => {
                // Whoever asked may have left.
                let _ = inner.askers.remove(id).map(|asker| asker.send(answer));
                return;
            }
            Action::Persist { op, change } => return self.persist(inner, now, op, change),
            Action::Send { attempt, version } => {
                (attempt.request, Command::Send { attempt, version })
            }
            Action::Cancel { attempt } => (attempt.request, Command::Cancel(attempt)),
            Action::Forward { attempt, served } => (attempt.request, Command::Forward(served)),
            Action::Fail { request, failure } => (request, Command::Fail(failure)),
        };
        let Some(task) = inner.tasks.get_mut(request) else {
            return;
        };
        let key = task.key;
        match command {
            Command::Send { attempt, version } => {
                task.out = Some(attempt);
                let n = attempt.n;
                self.outbox.send(now, What::Dispatched { key, n, version });
            }
            Command::Cancel(attempt) => {
                // What is not out any more has told its end already.
                if task.out.take_if(|out| *out == attempt).is_none() {
                    return;
                }
                let n = attempt.n;
                self.outbox.send(now, What::Cancelled { key, n });
            }
            Command::Forward(_) | Command::Fail(_) => {}
        }
        // A task that is gone has told the core already, or is about to.
        task.commands.send(command);
    }

    /// Hands a change over to be kept. Without a store there is nothing to wait for.
    fn persist(&self, inner: &mut Inner, now: Timestamp, op: u64, change: Box<Change>) {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let ok = match &*store {
            Store::None => {
                // Who would be written to is in the configuration that every rollback of a run leaves in force.
                let receivers = &change.deployment.config.rollback;
                let letter = bridge::letter(&change, receivers, now);
                letter
                    .into_iter()
                    .for_each(|what| self.outbox.send(now, what));
                true
            }
            // A store that is gone keeps nothing.
            Store::Open(sender) if sender.send((op, change)).is_err() => false,
            Store::Open(_) => return,
            Store::Closed => false,
        };
        drop(store);
        let input = Input::Persisted { op, ok };
        if let Some(log) = &mut inner.log {
            log.note(now, Some(&input));
        }
        inner.core.handle(now, input);
    }
}
