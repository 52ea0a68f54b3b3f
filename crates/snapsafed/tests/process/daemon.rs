//! A daemon for a test, and whoever speaks to it.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use snaprng::host::VmClockPage;
use snapsafe_client::wire::manager::{
    Ack, Event, Nothing, Quiesce, Quiesced, Register, Registered, Status, StatusReply, Subscribe,
    Unquiesce, Unquiesced,
};
use snapsafe_client::wire::{Error as Refusal, Expectation, Mode, Phase, State};
use snapsafe_client::{Client, Error, Replies};

/// `nobody`, or whoever has this number: not root.
pub(crate) const OTHER: u32 = 65534;

pub(crate) struct Daemon {
    pub(crate) directory: PathBuf,
    child: Option<Child>,
}

/// The gate's state is a file, the hooks are the test's, and the machine's own devices are not there.
const CONFIG: &str = "\
    quiesced_target = false\n\
    quiesce_timeout = \"10min\"\n\
    unquiesce_timeout = \"10min\"\n";

impl Daemon {
    /// With the defaults of these tests: no time limit that matters.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With lines for the beginning of the configuration in the place of the defaults.
    pub(crate) fn with(lines: &str) -> Self {
        Self::in_world(lines, "", "")
    }

    /// The same with a page of vmclock whose counter must change.
    pub(crate) fn with_vmclock(lines: &str) -> (Self, VmClockPage) {
        let directory = new_directory();
        let path = directory.join("vmclock");
        let page = VmClockPage::create(&path).unwrap();
        let daemon = Self::in_directory(directory, lines, "", &format!("vmclock = {path:?}"));
        (daemon, page)
    }

    pub(crate) fn in_world(lines: &str, sections: &str, witnesses: &str) -> Self {
        Self::in_directory(new_directory(), lines, sections, witnesses)
    }

    fn in_directory(directory: PathBuf, lines: &str, sections: &str, witnesses: &str) -> Self {
        let witnesses = if witnesses.is_empty() { "vmclock = \"/nonexistent\"" } else { witnesses };
        let own: String = CONFIG
            .lines()
            .filter(|line| !lines.contains(line.split(' ').next().unwrap()))
            .map(|line| format!("{line}\n"))
            .collect();
        let at = |name: &str| directory.join(name).display().to_string();
        let config = format!(
            "{own}{lines}\n[gate]\nkind = \"fake\"\nfake_state = \"{}\"\n[hooks]\ndirectory = \"{}\"\n\
             timeout = \"10min\"\n[agent]\nvirtio_port = \"/nonexistent\"\nunix_socket = \"{}\"\n\
             [witnesses]\nkmsg = false\n{witnesses}\n{sections}\n",
            at("gate/state"),
            at("hooks.d"),
            at("agent"),
        );
        fs::write(directory.join("config"), config).unwrap();
        let mut daemon = Self { directory, child: None };
        daemon.launch();
        daemon
    }

    /// Starts the daemon, and waits until it is ready.
    pub(crate) fn launch(&mut self) {
        let notify = self.directory.join("notify");
        let _ = fs::remove_file(&notify);
        let systemd = UnixDatagram::bind(&notify).unwrap();
        systemd.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let log = fs::OpenOptions::new().append(true).create(true).open(self.log()).unwrap();
        // Whoever runs tests with nohup, or in the background of a shell, ignores signals, and so
        // would the daemon: as systemd starts it, it ignores none.
        let mut child = Command::new("env")
            .arg("--default-signal")
            .arg(env!("CARGO_BIN_EXE_snapsafed"))
            .arg("--config")
            .arg(self.directory.join("config"))
            .arg("--runtime-directory")
            .arg(self.runtime())
            .env("NOTIFY_SOCKET", &notify)
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut buffer = [0; 256];
        while !matches!(systemd.recv(&mut buffer), Ok(count) if buffer[..count].starts_with(b"READY=1"))
        {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended: {status}: {}", self.said());
            }
        }
        self.child = Some(child);
    }

    /// As by `kill -9`, at this moment.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.directory.join("run")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime().join("io.snapsafe.Manager")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// What it logged.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect_to(&self.socket()).unwrap()
    }

    pub(crate) fn status(&self) -> StatusReply {
        self.client().call(&Status {}).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        self.status().state
    }

    /// Waits until the status is so.
    pub(crate) fn until(&self, is_so: impl Fn(&StatusReply) -> bool) -> StatusReply {
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn until_state(&self, state: State) -> StatusReply {
        self.until(|status| status.state == state)
    }

    /// The file of the gate, with a suffix: see `gate/fake.rs`.
    pub(crate) fn gate_file(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("gate/state{suffix}"))
    }

    pub(crate) fn gate_is_shut(&self) -> bool {
        fs::read_to_string(self.gate_file("")).is_ok_and(|state| state.trim() == "shut")
    }

    /// All that was ever done to the gate.
    pub(crate) fn gate_history(&self) -> Vec<String> {
        let log = fs::read_to_string(self.gate_file(".log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    pub(crate) fn never_opened(&self) -> bool {
        !self.gate_history().iter().any(|line| line.contains("open"))
    }

    pub(crate) fn quiesce(&self) -> Result<Quiesced, Error> {
        self.client().call(&Quiesce::default())
    }

    pub(crate) fn unquiesce(&self, expect: Expectation) -> Result<Unquiesced, Error> {
        self.client().call(&Unquiesce { expect: Some(expect), ..Unquiesce::default() })
    }

    pub(crate) fn quiescing(&self) -> JoinHandle<Result<Quiesced, Error>> {
        let mut client = self.client();
        spawn(move || client.call(&Quiesce::default()))
    }

    pub(crate) fn unquiescing(&self, expect: Expectation) -> JoinHandle<Result<Unquiesced, Error>> {
        let mut client = self.client();
        let call = Unquiesce { expect: Some(expect), ..Unquiesce::default() };
        spawn(move || client.call(&call))
    }

    /// `snapsafectl`, as this user.
    pub(crate) fn ctl_as(&self, uid: u32, arguments: &[&str]) -> Output {
        // Where everybody may run it.
        let copy = self.directory.join("snapsafectl");
        if !copy.exists() {
            copy_program(Path::new(env!("CARGO_BIN_EXE_snapsafectl")), &copy);
        }
        let mut command = Command::new(copy);
        command.arg("--socket").arg(self.socket()).args(arguments);
        if uid != 0 {
            command.uid(uid).gid(uid);
        }
        command.output().unwrap()
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> Output {
        self.ctl_as(0, arguments)
    }

    pub(crate) fn hook(&self, name: &str, script: &str) {
        let path = self.directory.join("hooks.d").join(name);
        let text = format!("#!/bin/sh\ncd {:?}\n{script}\n", self.directory.display());
        let source = self.directory.join(format!("{name}.source"));
        fs::write(&source, text).unwrap();
        copy_program(&source, &path);
    }

    /// A word of `/proc/PID/status`, in KiB.
    pub(crate) fn memory_kib(&self, word: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(word)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon said:\n{}", self.said());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// By another process: while this one has a program open for writing, a child that another thread has
/// just forked has it, too, and nobody can execute it.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let mut command = Command::new("install");
    assert!(command.args(["-m", "755"]).arg(from).arg(to).status().unwrap().success());
}

fn new_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("snapsafed-process-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&directory);
    for name in ["", "gate", "hooks.d"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

/// A participant whose every step is the test's.
pub(crate) struct App {
    socket: PathBuf,
    pub(crate) id: String,
    /// The registration.
    _reference: OwnedFd,
    events: Replies<Subscribe>,
}

impl App {
    pub(crate) fn join(daemon: &Daemon, name: &str) -> Self {
        Self::join_with(daemon, name, Mode::Delay, None).unwrap()
    }

    pub(crate) fn join_with(
        daemon: &Daemon,
        name: &str,
        mode: Mode,
        order: Option<i64>,
    ) -> Result<Self, Error> {
        let register = Register { name: name.to_owned(), mode: Some(mode), order };
        let (registered, mut descriptors) = daemon.client().call_for_descriptors(&register)?;
        let Registered { id, .. } = registered;
        let events = subscribe(&daemon.socket(), Some(&id))?;
        Ok(Self { socket: daemon.socket(), id, _reference: descriptors.remove(0), events })
    }

    /// After a restart of the daemon.
    pub(crate) fn come_back(&mut self) {
        self.events = subscribe(&self.socket, Some(&self.id)).unwrap();
    }

    /// The next thing that it is asked.
    pub(crate) fn asked(&mut self) -> Event {
        loop {
            let event = self.events.next(None).unwrap().unwrap();
            if event.phase.is_some() {
                return event;
            }
        }
    }

    /// The same, or nothing if there is no daemon any more.
    pub(crate) fn asked_or_over(&mut self) -> Option<Event> {
        loop {
            let event = self.events.next(None).ok()??;
            if event.phase.is_some() {
                return Some(event);
            }
        }
    }

    pub(crate) fn asked_for(&mut self, phase: Phase) -> Event {
        let event = self.asked();
        assert_eq!(event.phase, Some(phase));
        event
    }

    pub(crate) fn answer(&self, event: &Event, veto: Option<&str>) -> Result<Nothing, Error> {
        Client::connect_to(&self.socket)?.call(&Ack {
            id: self.id.clone(),
            transition: event.transition,
            generation: event.generation,
            phase: event.phase,
            ok: Some(veto.is_none()),
            why: veto.map(str::to_owned),
        })
    }

    /// Is asked for `phase` and consents.
    pub(crate) fn consent(&mut self, phase: Phase) -> Event {
        let event = self.asked_for(phase);
        self.answer(&event, None).unwrap();
        event
    }
}

pub(crate) fn subscribe(socket: &Path, id: Option<&str>) -> Result<Replies<Subscribe>, Error> {
    let id = id.map(str::to_owned);
    Client::connect_to(socket)?.subscribe(&Subscribe { id })
}

/// The refusal, which it has to be.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Whether this test can be another user. Says so if not.
pub(crate) fn can_be_others() -> bool {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !is_root {
        println!("SKIPPED: only root can be another user");
    }
    is_root
}
