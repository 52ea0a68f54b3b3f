//! What one worker is told to do: `name key=value …`, written by the harness's table of scenarios.

use std::time::Duration;

/// What a worker's process is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// Ask all kinds of generators for bytes in one busy loop, through the snapshot and on.
    Busy,
    /// Ask under `Require` again and again, and write down when it refused and when it served.
    Require,
    /// Touch no generator between the snapshot and the end of the settling time.
    Idle,
    /// Be the agent that moves the generation page late.
    Agent,
    /// Hold a CPU with real-time priority, so that the kernel gets nothing done on it.
    Hog,
}

/// What a busy worker does while the snapshot is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// It asks all its generators in turn, as it does afterwards.
    Asking,
    /// It makes requests so large that the snapshot is all but sure to cut one in half.
    InRequest,
    /// It sleeps, and touches none of its generators.
    Asleep,
}

/// One worker's orders.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) number: usize,
    pub(crate) body: Body,
    /// Drop root before the library is first used.
    pub(crate) nobody: bool,
    /// Run beside hogs: with a real-time priority above theirs, and not before all are started.
    pub(crate) beside_hogs: bool,
    /// The CPU that a hog holds.
    pub(crate) cpu: usize,
    /// What a busy worker does while the snapshot is taken.
    pub(crate) until: Until,
    pub(crate) require: bool,
    pub(crate) vmclock_off: bool,
    /// Watch the page of this test's agent.
    pub(crate) agent_page: bool,
    /// Owned generators to make, by what they accept: `plain`, `marker`, `late`.
    pub(crate) owned: Vec<String>,
    pub(crate) request: usize,
    /// How many requests after the resume are kept in full, of each generator.
    pub(crate) keep: usize,
    /// How long the busy loop goes on after the resume.
    pub(crate) run: Duration,
    /// How long after the resume the settled part begins; absent if there is none.
    pub(crate) settle: Option<Duration>,
    /// How late the agent moves its page.
    pub(crate) delay: Duration,
}

impl Plan {
    /// Read the orders; a word nobody knows is a mistake in the harness and ends the worker.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let name = words.next().expect("a worker needs a name");
        let mut plan = Self::named(name);
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word.as_str(), ""));
            plan.set(key, value);
        }
        plan
    }

    /// Whether it runs, with real-time priority, only when all that do are started.
    pub(crate) fn is_gated(&self) -> bool {
        self.beside_hogs || self.body == Body::Hog
    }

    fn named(name: String) -> Self {
        Self {
            name,
            number: 0,
            body: Body::Busy,
            nobody: false,
            beside_hogs: false,
            cpu: 0,
            until: Until::Asking,
            require: false,
            vmclock_off: false,
            agent_page: false,
            owned: Vec::new(),
            request: 32,
            keep: 4000,
            run: Duration::from_millis(1500),
            settle: None,
            delay: Duration::from_millis(300),
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let number = || value.parse().unwrap_or_else(|_| panic!("{key}={value} is not a number"));
        let milliseconds = || Duration::from_millis(number());
        match key {
            "number" => self.number = number() as usize,
            "body" => self.body = body(value),
            "nobody" => self.nobody = true,
            "beside-hogs" => self.beside_hogs = true,
            "cpu" => self.cpu = number() as usize,
            "in-request" => self.until = Until::InRequest,
            "asleep" => self.until = Until::Asleep,
            "require" => self.require = true,
            "vmclock-off" => self.vmclock_off = true,
            "agent-page" => self.agent_page = true,
            "owned" => self.owned = value.split(',').map(str::to_owned).collect(),
            "request" => self.request = number() as usize,
            "keep" => self.keep = number() as usize,
            "run-ms" => self.run = milliseconds(),
            "settle-ms" => self.settle = Some(milliseconds()),
            "delay-ms" => self.delay = milliseconds(),
            _ => panic!("the worker {} was told '{key}', which it does not know", self.name),
        }
    }
}

fn body(value: &str) -> Body {
    match value {
        "busy" => Body::Busy,
        "require" => Body::Require,
        "idle" => Body::Idle,
        "agent" => Body::Agent,
        "hog" => Body::Hog,
        _ => panic!("there is no body called '{value}'"),
    }
}
