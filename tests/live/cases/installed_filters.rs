//! What unitfix says that a unit's settings do with every call is what the filters do that systemd installed for it,
//! read back from the kernel, for every number of every architecture and all arguments that a filter looks at.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use unitfix::finding::Code;
use unitfix::policy::{Action, Policy};
use unitfix::root::Root;
use unitfix::syscalls::{Arch, Call, Groups};
use unitfix::unit::{Unit, UnitName};

use crate::bed::Bed;
use crate::bpf::{Data, Installed};
use crate::confinements;

use super::Case;

pub const CASES: &[Case] = &[
    Case::new("installed_filters::table", table),
    Case::new("installed_filters::random", |bed| compare(bed, &confinements::random())),
];

/// With `UNITFIX_LIVE_SETTINGS`, these settings (lines end at `/`) instead of the table.
fn table(bed: &Bed) {
    match std::env::var("UNITFIX_LIVE_SETTINGS") {
        Ok(settings) => compare(bed, &[settings.replace('/', "\n")]),
        Err(_) => compare(bed, &confinements::table()),
    }
}

/// So many processes are there at a time. They never sleep, for that would be a system call, but get idle time alone
/// until they are stopped.
const AT_A_TIME: usize = 24;
/// So many differences are shown of a unit.
const SHOWN: usize = 12;

/// Panics with what unitfix and the kernel do not agree about.
fn compare(bed: &Bed, settings: &[String]) {
    let version = bed.systemd_version();
    let groups = groups(bed);
    let mut differences = String::new();
    let (mut compared, mut filters, mut calls) = (0, 0, 0);
    for (batch, settings) in settings.chunks(AT_A_TIME).enumerate() {
        let units: Vec<(String, &str)> = settings
            .iter()
            .enumerate()
            .map(|(at, text)| (format!("confined{}.service", batch * AT_A_TIME + at), text.as_str()))
            .collect();
        let processes = start(bed, &units);
        let running: Vec<u32> = processes.iter().flatten().copied().collect();
        let mut installed = Installed::of(&running).into_iter();
        for ((name, text), process) in units.iter().zip(&processes) {
            let unit = Unit::find(&Root::new(bed.root()), &UnitName::parse(name).unwrap(), version)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut policy = Policy::evaluate(&unit, &groups);
            policy.restrictions.retain(|restriction| restriction.filters);
            let mut found = match (process, starts(&policy, text)) {
                (None, true) => vec!["it does not start".to_owned()],
                (Some(_), false) => vec!["it starts".to_owned()],
                _ => Vec::new(),
            };
            if process.is_some() && text.contains("ExecStart=+") {
                let count = installed.next().unwrap().count();
                if count > 0 {
                    found.push(format!("a command with + has {count} filters"));
                }
            } else if process.is_some() {
                let installed = installed.next().unwrap();
                filters += installed.count();
                compared += 1;
                let ours = policy.no_new_privileges.is_some() && !text.contains("ExecStart=!");
                if ours != no_new_privileges(process.unwrap()) {
                    found.push(format!("NoNewPrivs: unitfix {:?}", policy.no_new_privileges));
                }
                calls += differ(&policy, &installed, &mut found);
            }
            if !found.is_empty() {
                let _ = writeln!(differences, "{}:", text.replace('\n', " / "));
                for difference in found.iter().take(SHOWN) {
                    let _ = writeln!(differences, "    {difference}");
                }
                if found.len() > SHOWN {
                    let _ = writeln!(differences, "    and {} more", found.len() - SHOWN);
                }
            }
        }
        let names: Vec<&str> = units.iter().map(|(name, _)| name.as_str()).collect();
        bed.exec(&[&["systemctl", "kill", "--signal=KILL", "--"], &*names].concat());
        bed.exec(&[&["systemctl", "reset-failed", "--"], &*names].concat());
    }
    eprintln!("systemd {version}: {compared} units, {filters} filters, {calls} answers compared");
    assert!(differences.is_empty(), "systemd {version}:\n{differences}");
}

/// The groups that come with unitfix, or those of a manager that it does not know yet.
pub fn groups(bed: &Bed) -> Groups {
    let version = bed.systemd_version();
    let shipped = Groups::from_rules(version).unwrap();
    if shipped.origin_words() == format!("systemd {version}") {
        return shipped;
    }
    Groups::from_listing(&bed.run(&["systemd-analyze", "syscall-filter"]), version).unwrap()
}

/// Starts units and returns the process of each that runs.
fn start(bed: &Bed, units: &[(String, &str)]) -> Vec<Option<u32>> {
    let run = bed.root().join("run/systemd/system");
    for (name, settings) in units {
        let exec = if settings.contains("ExecStart=") { "" } else { "ExecStart=/run/ut/idler\n" };
        let text = format!("[Service]\n{exec}CPUSchedulingPolicy=idle\nTimeoutStopSec=1\n{settings}\n");
        fs::write(run.join(name), text).unwrap();
    }
    bed.run(&["systemctl", "daemon-reload"]);
    let names: Vec<&str> = units.iter().map(|(name, _)| name.as_str()).collect();
    bed.exec(&[&["systemctl", "start", "--no-block", "--"], &*names].concat());
    let end = Instant::now() + Duration::from_secs(20);
    let mut states = vec![None; units.len()];
    let mut asked = 0_u32;
    loop {
        for (at, state) in states.iter_mut().enumerate().filter(|(_, state)| state.is_none()) {
            if let Some(pid) = idler(bed, names[at]) {
                // it would take the time that the others need to start
                kill(Pid::from_raw(pid.cast_signed()), Signal::SIGSTOP).unwrap();
                *state = Some(Some(pid));
            }
        }
        let waiting: Vec<usize> = (0..units.len()).filter(|at| states[*at].is_none()).collect();
        if waiting.is_empty() {
            return states.into_iter().map(Option::unwrap_or_default).collect();
        }
        thread::sleep(Duration::from_millis(2));
        asked += 1;
        if !asked.is_multiple_of(50) {
            continue;
        }
        let asked: Vec<&str> = waiting.iter().map(|at| names[*at]).collect();
        let answer = bed.exec(&[&["systemctl", "is-active", "--"], &*asked].concat()).stdout;
        for (at, state) in waiting.iter().zip(answer.lines()) {
            if state == "failed" {
                states[*at] = Some(None);
            }
        }
        assert!(Instant::now() < end, "these neither run nor fail: {asked:?} {answer}");
    }
}

/// The process of a unit, once it runs the idler and has all its filters.
fn idler(bed: &Bed, unit: &str) -> Option<u32> {
    let group: PathBuf = bed.root().join("sys/fs/cgroup/system.slice").join(unit);
    let pid = fs::read_to_string(group.join("cgroup.procs")).ok()?.lines().next()?.parse().ok()?;
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (comm == "idler\n").then_some(pid)
}

/// Whether the filters can be installed, and let systemd run the program.
fn starts(policy: &Policy, settings: &str) -> bool {
    let refused = [Code::ErrnoTooHigh, Code::ErrnoIsDefault, Code::ErrnoOnWrite];
    let write = Call { arch: Arch::native(), number: Arch::native().number("write").unwrap() };
    let writes = !policy.decide(write).denies();
    (writes || !settings.contains("Type=exec"))
        && policy.findings.iter().all(|finding| !refused.contains(&finding.code))
}

/// The flag of a process, from /proc/PID/status.
fn no_new_privileges(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().any(|line| line == "NoNewPrivs:\t1")
}

/// Where unitfix and the filters do not say the same. Returns how many answers were compared.
fn differ(policy: &Policy, installed: &Installed, differences: &mut Vec<String>) -> usize {
    const EDGES: [u32; 12] = [
        0x3fff_ffff,
        0x4000_0000 - 2,
        0x4000_0000 + 1100,
        0x7fff_ffff,
        0x8000_0000,
        0x8000_0001,
        0xbfff_ffff,
        0xc000_0000,
        0xc000_0208,
        0xffff_fffe,
        0xffff_ffff,
        0xffff_ff00,
    ];
    let mut count = 0;
    for arch in [Arch::X86_64.audit(), Arch::X86.audit()] {
        let x32 = if arch == Arch::X86.audit() { 0..0 } else { 0x4000_0000..0x4000_0000 + 1100 };
        for number in (0..1100).chain(x32).chain(EDGES) {
            let call = Call::from_record(arch, number).unwrap();
            let answer = policy.answer(call);
            let mut data = Data { arch, number, arguments: [0; 6] };
            let (arguments, constants) = installed.looks(&data);
            for values in combinations(&arguments, &constants) {
                data.arguments = values;
                let theirs = action(installed.run(&data));
                let ours = answer.to(&values);
                count += 1;
                if ours.action != theirs {
                    differences.push(format!(
                        "{} {number:#x} ({call}) {values:x?}: unitfix {:?} because {:?}, the kernel {theirs:?}",
                        call.arch,
                        ours.action,
                        ours.token().map(|token| format!("{}={}", token.setting, token.text)),
                    ));
                    break;
                }
            }
        }
    }
    count
}

fn action(value: u32) -> Action {
    match value & 0xffff_0000 {
        0x7fff_0000 => Action::Allow,
        0x7ffc_0000 => Action::Log,
        0x0005_0000 => Action::Errno(u16::try_from(value & 0xffff).unwrap()),
        // of foreign architectures, systemd has the thread killed rather than the process
        0x8000_0000 | 0 => Action::Kill,
        other => panic!("a filter returns {other:#x}"),
    }
}

/// Values for the arguments that filters look at: what they compare with, and around it, in the lower and in the
/// upper half, and each single bit. Of several arguments, all combinations of the most telling ones.
fn combinations(arguments: &BTreeSet<usize>, constants: &BTreeSet<u64>) -> Vec<[u64; 6]> {
    let mut telling: BTreeSet<u64> = [0, u64::MAX, 1 << 40].into();
    for constant in constants {
        telling.extend([*constant, constant + 1, constant.saturating_sub(1)]);
        telling.extend([constant << 32, constant | 1 << 32]);
    }
    let mut all = vec![[0; 6]];
    for argument in arguments {
        let mut values = telling.clone();
        if arguments.len() == 1 {
            values.extend((0..64).map(|bit| 1 << bit));
        }
        all = all
            .iter()
            .flat_map(|combination| {
                values.iter().map(|value| {
                    let mut combination = *combination;
                    combination[*argument] = *value;
                    combination
                })
            })
            .collect();
    }
    all
}
