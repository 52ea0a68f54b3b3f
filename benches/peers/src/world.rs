//! The worlds that are measured, one process each: a configuration belongs to a process.
//!
//! A world says what it puts in force and what must be reported before its figures may be judged.
//! The page in the place of a hypervisor's is a memfd that this process writes: a stand-in.

use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use snaprng::host::VmClockPage;
use snaprng::{Config, Rounds, VmClock};

use crate::contenders::c_abi;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum World {
    /// A stand-in page, after the time that a generator takes to settle.
    Settled,
    /// The same with the kernel for AVX2.
    Avx2,
    /// The same with twelve rounds.
    Twelve,
    /// What this machine gives to a program that configures nothing.
    Default,
    /// A stand-in page, from its first look on.
    Unsettled,
}

impl World {
    pub(crate) const ALL: [Self; 5] =
        [Self::Settled, Self::Avx2, Self::Twelve, Self::Default, Self::Unsettled];

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Avx2 => "avx2",
            Self::Twelve => "twelve",
            Self::Default => "default",
            Self::Unsettled => "unsettled",
        }
    }

    pub(crate) fn of_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|world| world.id() == id)
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Settled => "a vmclock page (stand-in), settled",
            Self::Avx2 => "the same, with the kernel for AVX2 forced",
            Self::Twelve => "the same, with twelve rounds by choice",
            Self::Default => "what this machine gives by default",
            Self::Unsettled => "a vmclock page (stand-in), from the first look on: unsettled",
        }
    }

    /// The switch for the keystream's kernel.
    pub(crate) fn kernel(self) -> Option<&'static str> {
        (self == Self::Avx2).then_some("avx2")
    }

    pub(crate) fn must_settle(self) -> bool {
        matches!(self, Self::Settled | Self::Avx2 | Self::Twelve)
    }

    fn has_page(self) -> bool {
        self != Self::Default
    }

    /// Rounds of ChaCha.
    pub(crate) fn rounds(self) -> Rounds {
        if self == Self::Twelve { Rounds::Twelve } else { Rounds::Twenty }
    }

    /// The level and the settledness for which there are limits.
    fn expects(self) -> (&'static str, Option<bool>) {
        match self {
            Self::Settled | Self::Avx2 | Self::Twelve => ("synchronous", Some(true)),
            Self::Unsettled => ("synchronous", Some(false)),
            Self::Default => ("per-call", None),
        }
    }

    /// The keystream's kernel for which there are limits, or any.
    fn expects_kernel(self) -> Option<&'static str> {
        match self {
            Self::Settled | Self::Twelve => Some("avx512"),
            Self::Avx2 => Some("avx2"),
            Self::Default | Self::Unsettled => None,
        }
    }

    /// Why figures taken under this standing must not be judged.
    pub(crate) fn objects_to(self, standing: &Standing) -> Option<String> {
        let (level, settled) = self.expects();
        if standing.level != level {
            return Some(format!("the level is {}, not {level}", standing.level));
        }
        if settled.is_some_and(|settled| settled != standing.settled) {
            let found =
                if standing.settled { "it had settled before the end" } else { "UNSETTLED" };
            return Some(found.into());
        }
        self.objects_to_cipher(standing.cipher.as_ref()?)
    }

    fn objects_to_cipher(self, cipher: &Cipher) -> Option<String> {
        if cipher.rounds != self.rounds().count() {
            return Some(format!(
                "it makes {} rounds, not {}",
                cipher.rounds,
                self.rounds().count()
            ));
        }
        let kernel = self.expects_kernel()?;
        (cipher.kernel != kernel)
            .then(|| format!("the limits are for the {kernel} kernel; {} is in use", cipher.kernel))
    }
}

/// What a library reports of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) level: String,
    pub(crate) stand_in: bool,
    pub(crate) settled: bool,
    /// `None` for the C library, whose report does not say.
    pub(crate) cipher: Option<Cipher>,
}

/// How the bytes are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cipher {
    pub(crate) rounds: u32,
    pub(crate) kernel: String,
}

impl Standing {
    pub(crate) fn now() -> Self {
        let report = snaprng::protection();
        Self {
            level: report.level().to_string(),
            stand_in: report.is_stand_in(),
            settled: report.is_settled(),
            cipher: Some(Cipher {
                rounds: report.rounds().count(),
                kernel: report.kernel().into(),
            }),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stand_in = if self.stand_in { " (by a stand-in)" } else { "" };
        let settled = if self.settled { "settled" } else { "unsettled" };
        write!(f, "level {}{stand_in}, {settled}", self.level)?;
        match &self.cipher {
            Some(Cipher { rounds, kernel }) => write!(f, ", ChaCha{rounds}, {kernel} kernel"),
            None => Ok(()),
        }
    }
}

/// A world in force in this process, with the C library in it if there is one.
pub(crate) struct InForce {
    pub(crate) world: World,
    pub(crate) page: Option<VmClockPage>,
    pub(crate) c_library: Result<c_abi::Library, String>,
}

impl InForce {
    /// Puts a world in force. Nothing may have used the library before.
    pub(crate) fn install(
        world: World,
        c_library: Result<c_abi::Library, String>,
    ) -> Result<Self, String> {
        if !world.has_page() {
            return Ok(Self { world, page: None, c_library });
        }
        let page = VmClockPage::memfd().map_err(|e| format!("no page in a memfd: {e}"))?;
        let descriptor = || page.try_clone_fd().map_err(|e| e.to_string());
        let vmclock = VmClock::Fd(descriptor()?);
        let config = Config { vmclock, rounds: world.rounds(), ..Config::default() };
        config.install().map_err(|e| e.to_string())?;
        let for_c = descriptor()?;
        let install = |library: c_abi::Library| {
            library.install(for_c, world.rounds().count()).map(|()| library)
        };
        let c_library = c_library.and_then(install);
        Ok(Self { world, page: Some(page), c_library })
    }

    /// How long it will take to settle, from now on.
    pub(crate) fn settles_in(&self) -> Duration {
        snaprng::protection().settling_for()
    }

    /// Waits until both libraries have settled. What they report in the end is for others to judge.
    pub(crate) fn settle(&self) -> Result<(), String> {
        // The C library looks for the first time here: its time begins now.
        if let Ok(library) = &self.c_library {
            library.standing(false)?;
        }
        let began = Instant::now();
        let wait = self.settles_in() + Duration::from_millis(200);
        sleep(wait);
        for _ in 0..50 {
            snaprng::reseed(&[]).map_err(|e| e.to_string())?;
            let c_settled = match &self.c_library {
                Ok(library) => library.standing(true)?.settled,
                Err(_) => true,
            };
            if c_settled && Standing::now().settled {
                return Ok(());
            }
            sleep(Duration::from_millis(100));
        }
        Err(format!("not settled after {} s", began.elapsed().as_secs()))
    }

    /// The standing of the Rust library, and why nothing may be judged.
    pub(crate) fn check(&self) -> (Standing, Option<String>) {
        let standing = Standing::now();
        let mut objection = self.world.objects_to(&standing);
        if let (None, Ok(library)) = (&objection, &self.c_library) {
            objection = match library.standing(false) {
                Ok(of_c) => self.world.objects_to(&of_c).map(|why| format!("C library: {why}")),
                Err(why) => Some(format!("C library: {why}")),
            };
        }
        (standing, objection)
    }
}
