//! The inputs of the works: real records and lines of tests/samples, repeated with other times and process IDs until
//! they are as long as a row wants. What was made once is kept.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A gigabyte, as the rows mean it.
pub const GB: f64 = 1e9;

/// 2026-11-23 19:39 UTC, in milliseconds since the epoch: where the times begin.
const BEGUN_MS: u64 = 1_795_462_747_000;

const STRACE: &str = include_str!("../../tests/samples/strace/6.1-ttt.txt");
const JOURNAL: &str = include_str!("../../tests/samples/records/journal.json");

/// What auditd writes beside the records of forbidden calls.
const OTHER_RECORDS: [&str; 3] = [
    "type=SERVICE_START msg=audit(TIME): pid=1 uid=0 auid=4294967295 ses=4294967295 subj=unconfined \
     msg='unit=logrotate comm=\"systemd\" exe=\"/usr/lib/systemd/systemd\" hostname=? addr=? terminal=? \
     res=success'\u{1d}UID=\"root\" AUID=\"unset\"",
    "type=CRED_ACQ msg=audit(TIME): pid=PID uid=0 auid=0 ses=12 subj=unconfined msg='op=PAM:setcred \
     grantors=pam_permit acct=\"root\" exe=\"/usr/sbin/cron\" hostname=? addr=? terminal=cron res=success'",
    "type=USER_START msg=audit(TIME): pid=PID uid=0 auid=0 ses=12 subj=unconfined msg='op=PAM:session_open \
     grantors=pam_loginuid,pam_env,pam_permit,pam_unix,pam_limits acct=\"root\" exe=\"/usr/sbin/cron\" hostname=? \
     addr=? terminal=cron res=success'",
];

/// Filters of different kinds.
const FILTERS: [&str; 4] = [
    "SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources",
    "SystemCallFilter=~@clock @debug @module @mount @reboot @swap",
    "SystemCallFilter=@basic-io @file-system @io-event @network-io @process @signal\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=~@privileged:EPERM @resources\nSystemCallArchitectures=native",
];

/// Where the inputs are, and how large.
pub struct Inputs {
    pub folder: PathBuf,
    /// The part of the full size.
    pub scale: f64,
}

type Made = Result<(), Box<dyn Error>>;

impl Inputs {
    /// The path of an input, or of what a work makes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// So many, at this scale.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // sizes of inputs
    pub fn count(&self, full: f64) -> u64 {
        (full * self.scale).max(1.0) as u64
    }

    /// Make a file, unless it is there.
    fn once(&self, name: &str, make: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Made {
        let path = self.path(name);
        if path.exists() {
            return Ok(());
        }
        let part = path.with_extension("part");
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&part)?);
        make(&mut file)?;
        file.into_inner()?.sync_all()?;
        Ok(fs::rename(part, path)?)
    }

    /// auditd's log: one record of a forbidden call among ten.
    pub fn audit_log(&self, name: &str, bytes: f64) -> Made {
        self.once(name, |file| {
            let (mut written, mut number) = (0, 0_u64);
            while written < self.count(bytes) {
                number += 1;
                let line =
                    if number.is_multiple_of(10) { seccomp_record(number) } else { other_record(number) };
                writeln!(file, "{line}")?;
                written += line.len() as u64 + 1;
            }
            Ok(())
        })
    }

    /// What strace writes with -f -ttt.
    pub fn strace_log(&self, name: &str, bytes: f64) -> Made {
        let lines: Vec<(&str, &str)> = STRACE.lines().filter_map(|line| line.split_once(' ')).collect();
        self.once(name, |file| {
            let (mut written, mut round) = (0, 0);
            while written < self.count(bytes) {
                round += 1;
                for (pid, rest) in &lines {
                    let pid = pid.parse::<u64>().unwrap_or(1) + round % 500;
                    writeln!(file, "{pid} {rest}")?;
                    written += rest.len() as u64 + 7;
                }
            }
            Ok(())
        })
    }

    /// What `journalctl -o json` prints: one entry of a forbidden call among ten.
    pub fn journal_json(&self, name: &str, bytes: f64) -> Made {
        let record = JOURNAL.lines().next().unwrap_or_default();
        self.once(name, |file| {
            let (mut written, mut number) = (0, 0_u64);
            while written < self.count(bytes) {
                number += 1;
                let line =
                    if number.is_multiple_of(10) { renumbered(record, number) } else { other_entry(number) };
                writeln!(file, "{line}")?;
                written += line.len() as u64 + 1;
            }
            Ok(())
        })
    }

    /// A folder with journal files of so many entries, of which one among ten is of a forbidden call. Nothing is made
    /// where systemd-journal-remote is not installed, which writes them.
    pub fn journal_files(&self, name: &str, entries: f64) -> Made {
        let folder = self.path(name);
        let remote = Path::new("/usr/lib/systemd/systemd-journal-remote");
        if folder.exists() || !remote.exists() {
            return Ok(());
        }
        let export = format!("{name}.export");
        self.once(&export, |file| {
            for number in 1..=self.count(entries) {
                file.write_all(export_entry(number).as_bytes())?;
            }
            Ok(())
        })?;
        fs::create_dir_all(&folder)?;
        let output = format!("--output={}", folder.join("remote-bench.journal").display());
        let done = Command::new(remote).arg(output).arg(self.path(&export)).status()?;
        if !done.success() {
            return Err(format!("systemd-journal-remote: {done}").into());
        }
        Ok(())
    }

    /// A tree of small files, and a tar of it that somebody else owns.
    pub fn tree(&self) -> Made {
        let tree = self.path("tree");
        if !tree.exists() {
            for number in 0..self.count(20_000.0) {
                let folder = tree.join(format!("{}", number / 100));
                fs::create_dir_all(&folder)?;
                fs::write(folder.join(format!("{number}")), other_entry(number).repeat(8))?;
            }
        }
        let tar = self.path("tree.tar");
        if !tar.exists() {
            let mut command = Command::new("tar");
            command.args(["--owner=65534", "--group=65534", "-C"]).arg(&self.folder).arg("-cf").arg(&tar);
            command.arg("tree").status()?;
        }
        Ok(())
    }

    /// A unit file that runs a shell command once, under a filter.
    pub fn unit(&self, name: &str, command: &str, filter: &str) -> Made {
        let script = self.path(&format!("{name}.sh"));
        fs::write(&script, format!("#!/bin/sh\n{command}\n"))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let text = format!(
            "[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart={}\nSystemCallFilter={filter}\n",
            script.display()
        );
        Ok(fs::write(self.path(&format!("{name}.service")), text)?)
    }

    /// So many unit files with sandboxes of different kinds.
    pub fn units(&self, name: &str, count: u64) -> Made {
        let folder = self.path(name);
        fs::create_dir_all(&folder)?;
        for (number, filter) in (0..count).zip(FILTERS.iter().cycle()) {
            let text = format!(
                "[Unit]\nDescription=Number {number}\n\n[Service]\nExecStart=/bin/true {number}\nNoNewPrivileges=yes\n\
                 ProtectSystem=strict\nPrivateTmp=yes\nRestrictNamespaces=yes\nRestrictAddressFamilies=AF_UNIX AF_INET\n\
                 MemoryDenyWriteExecute=yes\nLockPersonality=yes\nRestrictRealtime=yes\n{filter}\n"
            );
            fs::write(folder.join(format!("bench-{number}.service")), text)?;
        }
        Ok(())
    }

    /// A root folder with a unit whose records the logs hold.
    pub fn root(&self) -> Made {
        let folder = self.path("root/etc/systemd/system");
        fs::create_dir_all(&folder)?;
        let text = "[Service]\nExecStart=/usr/local/bin/victim\nSystemCallFilter=~@resources\n";
        Ok(fs::write(folder.join("victim.service"), text)?)
    }
}

fn time(number: u64) -> String {
    let ms = BEGUN_MS + number * 7;
    format!("{}.{:03}:{number}", ms / 1000, ms % 1000)
}

fn seccomp(number: u64) -> String {
    let syscall = [160, 141, 203, 251][usize::try_from(number / 10 % 4).unwrap_or_default()];
    format!(
        "auid=4294967295 uid=0 gid=0 ses=4294967295 subj=unconfined pid={} comm=\"victim\" \
         exe=\"/usr/local/bin/victim\" sig=31 arch=c000003e syscall={syscall} compat=0 ip=0x433079 code=0x80000000",
        1000 + number % 30_000
    )
}

fn seccomp_record(number: u64) -> String {
    format!("type=SECCOMP msg=audit({}): {}", time(number), seccomp(number))
}

fn other_record(number: u64) -> String {
    let line = OTHER_RECORDS[usize::try_from(number % 3).unwrap_or_default()];
    line.replace("TIME", &time(number)).replace("PID", &(1000 + number % 30_000).to_string())
}

/// A sample with a time and a process of its own.
fn renumbered(record: &str, number: u64) -> String {
    let ms = BEGUN_MS + number * 7;
    record
        .replace("pid=4292", &format!("pid={}", 1000 + number % 30_000))
        .replace("1795462747", &(ms / 1000).to_string())
}

fn other_entry(number: u64) -> String {
    let us = (BEGUN_MS + number * 7) * 1000;
    format!(
        "{{\"__REALTIME_TIMESTAMP\":\"{us}\",\"_BOOT_ID\":\"2f1a8f4e6b0d4c6e9d5b7a3c1e2f4a6b\",\"_TRANSPORT\":\"journal\",\
         \"PRIORITY\":\"6\",\"SYSLOG_IDENTIFIER\":\"nginx\",\"_PID\":\"{}\",\"_COMM\":\"nginx\",\"_EXE\":\"/usr/sbin/nginx\",\
         \"_SYSTEMD_UNIT\":\"nginx.service\",\"_SYSTEMD_CGROUP\":\"/system.slice/nginx.service\",\
         \"MESSAGE\":\"10.0.0.{} - - GET /item/{number} HTTP/1.1 200 {}\"}}",
        1000 + number % 30_000,
        number % 250,
        number * 37 % 9000,
    )
}

fn export_entry(number: u64) -> String {
    let us = (BEGUN_MS + number * 7) * 1000;
    let mut text = format!(
        "__CURSOR=s=2f1a8f4e6b0d4c6e9d5b7a3c1e2f4a6b;i={number:x}\n__REALTIME_TIMESTAMP={us}\n__MONOTONIC_TIMESTAMP={}\n\
         _BOOT_ID=2f1a8f4e6b0d4c6e9d5b7a3c1e2f4a6b\n_MACHINE_ID=6b0d4c6e9d5b7a3c1e2f4a6b2f1a8f4e\n_HOSTNAME=web1\n",
        number * 7000
    );
    let _ = if number.is_multiple_of(10) {
        write!(
            text,
            "_TRANSPORT=audit\n_AUDIT_TYPE=1326\n_AUDIT_ID={number}\n_SOURCE_REALTIME_TIMESTAMP={us}\n\
             MESSAGE=SECCOMP {}\n\n",
            seccomp(number)
        )
    } else {
        write!(
            text,
            "_TRANSPORT=journal\nPRIORITY=6\n_PID={}\n_COMM=nginx\n_EXE=/usr/sbin/nginx\n_SYSTEMD_UNIT=nginx.service\n\
             MESSAGE=10.0.0.{} - - GET /item/{number} HTTP/1.1 200 {}\n\n",
            1000 + number % 30_000,
            number % 250,
            number * 37 % 9000,
        )
    };
    text
}
