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
}

/// One worker's orders.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) number: usize,
    pub(crate) body: Body,
    /// Drop root before the library is first used.
    pub(crate) nobody: bool,
    /// Run with real-time priority on the only CPU.
    pub(crate) hog: bool,
    pub(crate) require: bool,
    pub(crate) vmclock_off: bool,
    pub(crate) agent_page_off: bool,
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

    /// Whether the requests are so large that the snapshot is all but sure to cut one in half.
    pub(crate) fn bulk(&self) -> bool {
        self.request >= 64 * 1024
    }

    fn named(name: String) -> Self {
        Self {
            name,
            number: 0,
            body: Body::Busy,
            nobody: false,
            hog: false,
            require: false,
            vmclock_off: false,
            agent_page_off: false,
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
            "hog" => self.hog = true,
            "require" => self.require = true,
            "vmclock-off" => self.vmclock_off = true,
            "agent-page-off" => self.agent_page_off = true,
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
        _ => panic!("there is no body called '{value}'"),
    }
}
