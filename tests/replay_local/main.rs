//! The local replay, on real processes: no service manager, with root or without.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)] // in helpers, too, a failure is the test's

mod settings;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use unitfix::evidence::Source;
use unitfix::interrupt::Interrupt;
use unitfix::policy::Policy;
use unitfix::replay::local::{self, LocalError, Options};
use unitfix::replay::{Exit, Observation, Outcome};
use unitfix::syscalls::Groups;
use unitfix::unit::Unit;

/// Orphans of one replay come to the test process, so what a test looks for must be its own alone.
static SERIAL: Mutex<()> = Mutex::new(());

struct Case {
    folder: tempfile::TempDir,
    observe: Duration,
    start: Duration,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Case { folder, observe: Duration::from_secs(1), start: Duration::from_secs(20) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn unit(&self, service: &str) -> Unit {
        let path = self.path("case@one.service");
        fs::write(&path, format!("[Service]\n{service}\n")).unwrap();
        Unit::at_path(&path, 252).unwrap().unit
    }

    fn options(&self) -> Options {
        let mut options = Options::new(self.observe, Interrupt::default());
        options.start = self.start;
        options.launcher = launcher();
        options
    }

    fn record(&self, service: &str) -> Result<Observation, LocalError> {
        let (unit, policy) = self.load(service);
        local::record(&unit, &policy, &self.options())
    }

    fn prove(&self, service: &str) -> Result<Observation, LocalError> {
        let (unit, policy) = self.load(service);
        local::prove(&unit, &policy, &self.options())
    }

    fn load(&self, service: &str) -> (Unit, Policy) {
        let unit = self.unit(service);
        let policy = Policy::evaluate(&unit, &Groups::from_rules(252).unwrap());
        (unit, policy)
    }
}

/// Another path only where the test runs itself as a user who cannot reach the usual one.
fn launcher() -> PathBuf {
    std::env::var_os(LAUNCHER).map_or_else(|| env!("CARGO_BIN_EXE_unitfix").into(), PathBuf::from)
}

const LAUNCHER: &str = "UNITFIX_TEST_LAUNCHER";

/// A length of sleep that no other test run on this machine asks for.
fn mark(number: u32) -> String {
    format!("100.{number}{}", std::process::id())
}

fn serial() -> std::sync::MutexGuard<'static, ()> {
    SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A program of this C text.
fn compiled(case: &Case, text: &str, options: &[&str]) -> String {
    let (source, program) = (case.path("program.c"), case.path("program"));
    fs::write(&source, text).unwrap();
    let status = std::process::Command::new("cc").args(options).arg("-o").args([&program, &source]).status();
    assert!(status.unwrap().success());
    program.display().to_string()
}

/// `comm call effect` of each denial, sorted.
fn denied(seen: &Observation) -> Vec<String> {
    let mut all: Vec<String> =
        seen.denials.iter().map(|d| format!("{} {} {:?}", d.process.comm, d.call, d.effect)).collect();
    all.sort();
    all.dedup();
    all
}

fn log(seen: &Observation) -> Vec<String> {
    seen.log.iter().map(ToString::to_string).collect()
}

fn failed(result: &str, exit: Exit, command: &str) -> Outcome {
    Outcome::Failed { result: result.into(), exit: Some(exit), command: Some(command.into()) }
}

/// Processes with this word in their command line.
fn alive(mark: &str) -> Vec<String> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let lines = pids.filter_map(|p| fs::read_to_string(p.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(mark)).collect()
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

const NICE: &str = "ExecStart=/usr/bin/nice -n 5 /bin/true\nSystemCallFilter=~@resources";

#[test]
fn a_forbidden_call_is_recorded_and_its_repair_proven() {
    let _alone = serial();
    let case = Case::new();
    let seen = case.record(NICE).unwrap();
    assert_eq!(denied(&seen), ["nice setpriority Recorded"]);
    assert_eq!(seen.outcome, Outcome::Finished);
    let denial = &seen.denials[0];
    assert_eq!(denial.source, Source::Notification);
    assert_eq!(denial.process.exe.as_ref().unwrap().to_string(), "/usr/bin/nice");
    assert!(denial.time.is_some() && denial.process.parent.is_none() && !seen.lossy);

    let killed = case.prove(NICE).unwrap();
    assert_eq!(denied(&killed), ["nice setpriority Killed"]);
    assert_eq!(
        killed.outcome,
        failed("signal", Exit::Signal(nix::libc::SIGSYS), "/usr/bin/nice -n 5 /bin/true")
    );

    let works = case.prove(&format!("{NICE}\nSystemCallFilter=setpriority")).unwrap();
    assert_eq!((denied(&works), works.outcome), (vec![], Outcome::Finished));
}

#[test]
fn a_child_dies_while_the_main_process_lives() {
    let _alone = serial();
    let case = Case::new();
    let mark = mark(1);
    let unit =
        format!("ExecStart=/bin/sh -c 'nice -n 1 true; sleep {mark}; true'\nSystemCallFilter=~@resources");
    let started = Instant::now();
    let seen = case.record(&unit).unwrap();
    assert_eq!(denied(&seen), ["nice setpriority Recorded"]);
    assert_eq!(seen.denials[0].process.parent.as_ref().unwrap().to_string(), "sh");
    assert_eq!(seen.outcome, Outcome::Running);
    assert!(started.elapsed() < Duration::from_secs(8));
    let proof = case.prove(&unit).unwrap();
    assert_eq!((denied(&proof), proof.outcome), (vec!["nice setpriority Killed".into()], Outcome::Running));
    assert_eq!(alive(&mark), Vec::<String>::new());
}

#[test]
fn an_errno_is_answered() {
    let _alone = serial();
    let case = Case::new();
    let unit = "ExecStart=/bin/sh -c 'nice -n 1 echo went on'\n\
                SystemCallFilter=~setpriority:EACCES\nType=oneshot";
    let seen = case.prove(unit).unwrap();
    assert_eq!(denied(&seen), ["nice setpriority Failed(13)"]);
    assert_eq!(seen.outcome, Outcome::Finished);
    assert_eq!(log(&seen), ["nice: cannot set niceness: Permission denied", "went on"]);
    let default =
        "ExecStart=/usr/bin/nice -n 1 /bin/true\nSystemCallFilter=~@resources\nSystemCallErrorNumber=EPERM";
    assert_eq!(denied(&case.prove(default).unwrap()), ["nice setpriority Failed(1)"]);
}

#[test]
fn an_allow_list_and_five_different_calls() {
    let _alone = serial();
    let case = Case::new();
    let file = case.path("file");
    fs::write(&file, "").unwrap();
    let unit = format!(
        "ExecStart=/bin/chown --no-dereference {} {}\nType=oneshot\nSystemCallFilter=@system-service\n\
         SystemCallFilter=~@chown",
        nix::unistd::Uid::effective(),
        file.display()
    );
    let seen = case.record(&unit).unwrap();
    assert_eq!(denied(&seen), ["chown fchownat Recorded"]);
    assert_eq!(seen.outcome, Outcome::Finished);

    let program = "mkdir q($A); rmdir q($A); umask 077; getppid; kill 0, $$$$; getpriority 0, 0";
    let unit = format!(
        "Environment=A={}\nExecStart=/usr/bin/perl -e '{}'\n\
         SystemCallFilter=~mkdir mkdirat rmdir umask kill getpriority",
        case.path("made").display(),
        program.replace("q($A)", "$ENV{A}"),
    );
    let seen = case.record(&unit).unwrap();
    let calls = ["getpriority", "kill", "mkdir", "rmdir", "umask"];
    assert_eq!(denied(&seen), calls.map(|call| format!("perl {call} Recorded")), "{:?}", log(&seen));
}

#[test]
fn every_call_but_those_listed_is_denied_even_the_first() {
    let _alone = serial();
    let case = Case::new();
    let unit = "ExecStart=/bin/true\nSystemCallFilter=getpid";
    let seen = case.record(unit).unwrap();
    assert_eq!(seen.outcome, Outcome::Finished);
    // execve is on the list by itself (@default), the loader's openat is not
    assert!(denied(&seen).contains(&"true openat Recorded".to_owned()), "{:?}", denied(&seen));
    let proof = case.prove(unit).unwrap();
    assert_eq!(proof.outcome, failed("signal", Exit::Signal(nix::libc::SIGSYS), "/bin/true"));

    let unit = "ExecStart=/bin/true\nSystemCallFilter=~execve";
    let seen = case.record(unit).unwrap();
    assert_eq!(denied(&seen), ["(true) execve Recorded"]);
    assert_eq!(seen.denials[0].process.exe, None);
    let proof = case.prove(&format!("{unit}\nSystemCallErrorNumber=EACCES")).unwrap();
    assert_eq!(proof.outcome, failed("exit-code", Exit::Status(203), "/bin/true"));
    assert_eq!(proof.notes.last().unwrap(), "/bin/true: Permission denied");
}

#[test]
fn exit_statuses_are_judged_as_the_manager_does() {
    let _alone = serial();
    let case = Case::new();
    let three = "ExecStart=/bin/sh -c 'exit 3'";
    assert_eq!(
        case.record(three).unwrap().outcome,
        failed("exit-code", Exit::Status(3), "/bin/sh -c 'exit 3'")
    );
    for fine in ["SuccessExitStatus=1 3", "Type=oneshot\nSuccessExitStatus=3"] {
        assert_eq!(case.record(&format!("{three}\n{fine}")).unwrap().outcome, Outcome::Finished);
    }
    let ignored = three.replace("=/bin", "=-/bin");
    assert_eq!(case.record(&ignored).unwrap().outcome, Outcome::Finished);
    let terminated = "ExecStart=/bin/sh -c 'kill $$$$'";
    assert_eq!(case.record(terminated).unwrap().outcome, Outcome::Finished);
    let oneshot = case.record(&format!("{terminated}\nType=oneshot")).unwrap().outcome;
    assert_eq!(oneshot, failed("signal", Exit::Signal(15), "/bin/sh -c 'kill $$$$'"));
    let condition = case.record("ExecCondition=/bin/false\nExecStart=/bin/sh -c 'exit 3'").unwrap();
    assert_eq!(condition.outcome, Outcome::Finished);
}

#[test]
fn commands_run_in_order_and_plus_is_not_filtered() {
    let _alone = serial();
    let case = Case::new();
    let unit = "Type=oneshot\nExecStartPre=+/usr/bin/nice -n 1 echo one\nExecStartPre=-false\n\
                ExecStartPre=@/bin/sh argv-zero -c 'echo $0'\nExecStart=echo two ; echo ${N} $N\nExecStart=:echo $N\n\
                ExecStartPost=echo %i %p\nEnvironment=\"N=a  b\"\nSystemCallFilter=~@resources";
    let seen = case.record(unit).unwrap();
    assert_eq!(denied(&seen), Vec::<String>::new());
    assert_eq!(log(&seen), ["one", "argv-zero", "two", "a  b a b", "$N", "one case"]);
}

#[test]
fn notify_is_awaited() {
    let _alone = serial();
    let mut case = Case::new();
    let send = "socket(S, AF_UNIX, SOCK_DGRAM, 0); send(S, q(READY=1), 0, sockaddr_un($ENV{NOTIFY_SOCKET}))";
    let unit = |what: &str| {
        format!(
            "Type=notify\nExecStart=/usr/bin/perl -MSocket -e '{what}; sleep 100'\nSystemCallFilter=~alarm"
        )
    };
    let seen = case.record(&unit(send)).unwrap();
    assert_eq!(seen.outcome, Outcome::Running, "{:?}", log(&seen));
    let early = case.record(&unit("exit 0")).unwrap().outcome;
    assert!(matches!(early, Outcome::Failed { result, .. } if result == "protocol"));
    case.start = Duration::from_millis(500);
    let never = case.record(&unit("1")).unwrap().outcome;
    assert!(matches!(never, Outcome::Failed { result, .. } if result == "timeout"));
}

#[test]
fn forking_daemons_are_followed_and_stopped() {
    let _alone = serial();
    let case = Case::new();
    let (pid_file, mark) = (case.path("pid"), mark(2));
    let daemon = format!(
        "ExecStart=/bin/sh -c 'setsid sh -c \"nice -n 1 true; exec sleep {mark}\" & echo $! >{}'\n\
         Type=forking\nSystemCallFilter=~@resources",
        pid_file.display()
    );
    for unit in [daemon.clone(), format!("{daemon}\nPIDFile={}", pid_file.display())] {
        let seen = case.record(&unit).unwrap();
        assert_eq!(
            (denied(&seen), &seen.outcome),
            (vec!["nice setpriority Recorded".into()], &Outcome::Running)
        );
        assert_eq!(alive(&mark), Vec::<String>::new());
    }
    let dies = daemon.replace(&format!("exec sleep {mark}"), "exit 3");
    let seen = case.record(&format!("{dies}\nPIDFile=/nowhere")).unwrap();
    assert!(matches!(seen.outcome, Outcome::Failed { result, .. } if result == "protocol"));
}

#[test]
fn the_environment_is_the_managers() {
    let _alone = serial();
    let case = Case::new();
    fs::write(case.path("env"), "# c\nA=file\nB='two words'\n").unwrap();
    let unit = format!(
        "ExecStart=/bin/sh -c 'env; pwd; umask; ulimit -Sn; ulimit -Hn; ulimit -Sc; readlink /proc/self/fd/0'\n\
         Type=oneshot\nEnvironment=A=unit C=%%\nEnvironmentFile={}\nEnvironmentFile=-/nowhere\nUMask=0077\n\
         LimitCORE=0\nWorkingDirectory=/usr\nUnsetEnvironment=C",
        case.path("env").display()
    );
    let seen = case.record(&unit).unwrap();
    let lines = log(&seen);
    for expected in ["A=file", "B=two words", "/usr", "0077", "1024", "0", "/dev/null"] {
        assert!(lines.contains(&expected.to_owned()), "{expected}: {lines:?}");
    }
    let path = lines.iter().find(|l| l.starts_with("PATH=")).unwrap();
    assert!(path.starts_with("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"));
    assert!(!lines.iter().any(|l| l.starts_with("HOME=") || l.starts_with("C=") || l.starts_with("CARGO")));
    let (_, own) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let hard: u64 = lines[lines.iter().position(|l| l == "1024").unwrap() + 1].parse().unwrap();
    // Go calls setrlimit only where the two differ
    assert!(hard == 524_288 || hard == own.min(524_288), "{hard}");

    let missing = case.record("ExecStart=/bin/true\nEnvironmentFile=/nowhere/env").unwrap_err();
    assert!(
        matches!(&missing, LocalError::EnvironmentFile { path, .. } if path == Path::new("/nowhere/env"))
    );
}

#[test]
fn signals_are_reset_and_descriptors_closed() {
    let _alone = serial();
    let case = Case::new();
    let unit = "ExecStart=/bin/sh -c 'grep -E \"SigBlk|SigIgn|NoNew|Seccomp:\" /proc/self/status; ls /proc/self/fd'\n\
                Type=oneshot\nSystemCallFilter=~@resources";
    let lines = log(&case.record(unit).unwrap());
    let status: Vec<String> =
        lines.iter().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let no_new_privs = if is_root() { "NoNewPrivs:\\t0" } else { "NoNewPrivs:\\t1" };
    let expected = ["SigBlk:\\t0000000000000000", "SigIgn:\\t0000000000001000", no_new_privs, "Seccomp:\\t2"];
    // 32 and 33 are the C library's own, which lets nobody set them
    let status: Vec<String> = status.iter().map(|l| l.replace("00000000800", "00000000000")).collect();
    assert_eq!(status[..4], expected);
    assert_eq!(lines[4..], ["0", "1", "2", "3"]);
}

#[test]
fn a_missing_program_and_a_missing_user_say_what_to_do() {
    let _alone = serial();
    let case = Case::new();
    let error = case.record("ExecStart=/usr/bin/not-there-at-all").unwrap_err().to_string();
    assert!(
        error.contains("case@one.service:2:11: there is no program /usr/bin/not-there-at-all"),
        "{error}"
    );
    let error = case.record("ExecStart=/bin/true\nUser=nobody-of-this-name").unwrap_err().to_string();
    assert!(error.contains("there is no user 'nobody-of-this-name' here: create it"), "{error}");
    assert!(matches!(case.record("Type=simple").unwrap_err(), LocalError::NoCommand));
    assert_eq!(case.record("ExecStart=-/usr/bin/not-there-at-all").unwrap().outcome, Outcome::Finished);
}

#[test]
fn what_cannot_be_imitated_is_noted() {
    let _alone = serial();
    let case = Case::new();
    let unit = "ProtectSystem=strict\nPrivateTmp=yes\nProtectHome=no\nExecStart=/bin/true\nPrivateTmp=true";
    let notes = case.record(unit).unwrap().notes;
    assert_eq!(notes.last().unwrap(), "not imitated: ProtectSystem=, PrivateTmp=");
}

#[test]
fn users_groups_and_no_new_privileges() {
    let _alone = serial();
    if !is_root() {
        return; // the whole file runs without root too
    }
    let case = Case::new();
    fs::set_permissions(case.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let unit = "User=nobody\nSupplementaryGroups=daemon\nType=oneshot\nSystemCallFilter=~@resources\n\
                ExecStart=/bin/sh -c 'id -un; id -G; echo $$LOGNAME; grep NoNew /proc/self/status; nice -n 1 true'";
    let seen = case.record(unit).unwrap();
    assert_eq!(log(&seen)[..4], ["nobody", "65534 1", "nobody", "NoNewPrivs:\\t1"]);
    assert_eq!(denied(&seen), ["nice setpriority Recorded"]);
    assert_eq!(seen.denials[0].process.exe.as_ref().unwrap().to_string(), "/usr/bin/nice");
    let proof = case.prove(unit).unwrap();
    assert_eq!(denied(&proof), ["nice setpriority Killed"]);
    let dynamic = "DynamicUser=yes\nUser=made-by-the-manager\nType=oneshot\nExecStart=id -un";
    assert_eq!(log(&case.record(dynamic).unwrap()), ["nobody"]);
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let _alone = serial();
    let case = Case::new();
    let mark = mark(4);
    let unit =
        format!("ExecStart=/bin/sh -c '(setsid sleep {mark} &) ; sleep {mark}'\nSystemCallFilter=~alarm");
    let (unit, policy) = case.load(&unit);
    let mut options = case.options();
    // adding this to the time of day is more than a clock can hold
    options.observe = Duration::MAX;
    let panicked = std::panic::catch_unwind(|| local::record(&unit, &policy, &options).map(drop));
    assert!(panicked.is_err());
    assert_eq!(alive(&mark), Vec::<String>::new());
}

#[test]
fn everything_works_without_root_too() {
    let _alone = serial();
    if !is_root() {
        return; // this is that run
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (test, unitfix) = (folder.path().join("test"), folder.path().join("unitfix"));
    fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    fs::copy(launcher(), &unitfix).unwrap();
    let run = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&test)
        .env(LAUNCHER, &unitfix)
        .current_dir("/")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && report.contains("21 passed"), "{report}");
}

#[test]
fn a_stubborn_family_is_killed_and_an_interrupt_ends_the_replay() {
    let _alone = serial();
    let case = Case::new();
    let mark = mark(3);
    let unit = format!(
        "ExecStart=/bin/sh -c 'trap \"\" TERM; (trap \"\" TERM; setsid sleep {mark} &) ; sleep {mark}'\n\
         SystemCallFilter=~alarm"
    );
    assert_eq!(case.record(&unit).unwrap().outcome, Outcome::Running);
    assert_eq!(alive(&mark), Vec::<String>::new());

    let options = Options { observe: Duration::from_mins(1), ..case.options() };
    let interrupt = options.interrupt.clone();
    let (awaited, deadline) = (mark.clone(), Instant::now() + Duration::from_secs(10));
    let raiser = std::thread::spawn(move || {
        while alive(&awaited).len() < 2 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        interrupt.raise();
    });
    let (unit, policy) = case.load(&unit);
    let error = local::record(&unit, &policy, &options).unwrap_err();
    raiser.join().unwrap();
    assert!(matches!(error, LocalError::Interrupted));
    assert_eq!(alive(&mark), Vec::<String>::new());
}

/// What `chown` is called by, in a function of its own each.
const NESTED: &str = "#include <unistd.h>\n\
    int count;\n\
    __attribute__((noinline)) static void give_away(const char *path) { if (chown(path, -1, -1)) count++; count++; }\n\
    __attribute__((noinline)) void prepare(const char *path) { give_away(path); count++; }\n\
    int main(void) { prepare(\"/nonexistent/x\"); return count != 3; }\n";

#[test]
fn who_called_is_seen_while_it_waits() {
    let _alone = serial();
    let case = Case::new();
    for (options, stack) in [
        (&["-O2"][..], "main → prepare → give_away → chown"),
        (&["-O2", "-static"], "main → prepare → give_away → chown"),
        (&["-O2", "-no-pie"], "main → prepare → give_away → chown"),
        (&["-O2", "-s"], "0xADDRESS → chown"),
        // the frame pointer of a process that waits is not known, and nothing is guessed
        (&["-O0", "-fno-omit-frame-pointer"], "give_away → chown"),
    ] {
        let program = compiled(&case, NESTED, options);
        let unit = case.unit(&format!("ExecStart={program}\nSystemCallFilter=~chown"));
        let policy = Policy::evaluate(&unit, &Groups::from_rules(252).unwrap());
        let seen = local::record(&unit, &policy, &Options { blame: true, ..case.options() }).unwrap();
        assert_eq!(
            (denied(&seen), seen.outcome),
            (vec!["program chown Recorded".to_owned()], Outcome::Finished)
        );
        let short = seen.denials[0].stack.short().unwrap();
        let own = seen.denials[0].stack.frames[1].address;
        let expected = format!("{stack} ({program})").replace("0xADDRESS", &format!("0x{own:x}"));
        assert_eq!(short, expected, "{options:?}");

        let seen = local::record(&unit, &policy, &case.options()).unwrap();
        assert!(seen.denials[0].stack.is_empty(), "nobody asked");
    }
}
