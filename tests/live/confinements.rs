//! Settings of units that confine their system calls.

/// Settings that install filters, each alone.
pub const SINGLE: &[&str] = &[
    "ProtectHostname=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectClock=yes",
    "PrivateDevices=yes",
    "LockPersonality=yes",
    "LockPersonality=yes\nPersonality=x86",
    "LockPersonality=yes\nPersonality=x86-64",
    "DynamicUser=yes",
    "DynamicUser=yes\nRestrictSUIDSGID=no",
    "ProtectHostname=private",
    "ProtectHostname=private:confined",
    "SystemCallArchitectures=native",
    "SystemCallArchitectures=x86",
    "SystemCallArchitectures=x32",
    "SystemCallArchitectures=x86 x32",
    "SystemCallArchitectures=x86-64 x86 x32",
    "SystemCallArchitectures=arm64",
    "SystemCallArchitectures=nonsense",
    "SystemCallArchitectures=x86\nSystemCallArchitectures=",
];

/// `SystemCallFilter=` and what belongs to it.
pub const FILTERS: &[&str] = &[
    "",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service\nSystemCallErrorNumber=ENOSYS",
    "SystemCallFilter=@system-service\nSystemCallErrorNumber=0",
    "SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources",
    "SystemCallFilter=@system-service\nSystemCallFilter=~@resources:EACCES chown:kill",
    "SystemCallFilter=@system-service\nSystemCallFilter=~@resources:kill\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@known",
    "SystemCallFilter=@known\nSystemCallFilter=~@mount socket",
    "SystemCallFilter=@default",
    "SystemCallFilter=no_such_call",
    "SystemCallFilter=@basic-io\nSystemCallFilter=~write",
    "SystemCallFilter=@basic-io mount:kill",
    "SystemCallFilter=@basic-io mount:kill chown:EPERM\nSystemCallErrorNumber=EACCES",
    "SystemCallFilter=@basic-io\nSystemCallFilter=~write:EPERM",
    "SystemCallFilter=socket bind connect",
    "SystemCallFilter=socketcall ipc",
    "SystemCallFilter=socketcall semop",
    "SystemCallFilter=send recv accept shmat semget msgctl semtimedop",
    "SystemCallFilter=@network-io @ipc\nSystemCallFilter=~socket:EPERM shmat:EACCES",
    "SystemCallFilter=_llseek mmap2 stat64 fcntl64 break _newselect umount ugetrlimit",
    "SystemCallFilter=rt_sigaction ioctl readv preadv2 sendmsg io_setup",
    "SystemCallFilter=umount2 select getrlimit vm86 clock_gettime64 socketcall",
    "SystemCallFilter=arm_fadvise64_64 ppc_rtas s390_pci_mmio_read breakpoint cacheflush",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallFilter=~@privileged @resources\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=~@resources:ENOSYS @mount:kill\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=~socket:EACCES bind:EPERM socketcall:ENOSYS",
    "SystemCallFilter=~socket:EACCES send:EPERM recv:kill shmat:ENOSYS semop msgget",
    "SystemCallFilter=~@network-io @ipc",
    "SystemCallFilter=~@network-io @ipc\nSystemCallFilter=socketcall ipc",
    "SystemCallFilter=~@known\nSystemCallFilter=@system-service",
    "SystemCallFilter=~uname:0 chown",
    "SystemCallFilter=~uname:4095",
    "SystemCallFilter=~write mount",
    "SystemCallFilter=~write:EPERM",
    "SystemCallFilter=~mount\nSystemCallFilter=mount",
    "SystemCallFilter=~",
    "SystemCallFilter=~uname:EPERM\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service\nSystemCallFilter=~uname:EPERM\nSystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service\nSystemCallFilter=~uname:kill",
    "SystemCallFilter=@system-service\nSystemCallFilter=~bpf:ENOSYS",
    "SystemCallFilter=@system-service\nSystemCallFilter=~_sysctl:ENOSYS",
    "SystemCallFilter=~@clock:ENOSYS\nProtectClock=yes",
    "SystemCallFilter=~@clock:EPERM @raw-io:ENOSYS\nProtectClock=yes\nPrivateDevices=yes",
    "SystemCallFilter=~chmod:EACCES openat2:EPERM fchmodat2:EPERM\nRestrictSUIDSGID=yes",
    "SystemCallFilter=@system-service\nSystemCallArchitectures=native",
    "SystemCallFilter=@system-service\nSystemCallArchitectures=x86\nLockPersonality=yes",
    "SystemCallFilter=@system-service\nExecStart=+/run/ut/idler",
    "SystemCallFilter=@system-service\nExecStart=!/run/ut/idler",
    "SystemCallFilter=@system-service\nType=exec",
    "SystemCallFilter=@basic-io\nSystemCallFilter=~write\nType=exec",
    "SystemCallFilter=@aio @basic-io @chown @clock @cpu-emulation @debug @file-system @io-event",
    "SystemCallFilter=@ipc @keyring @memlock @module @mount @network-io @obsolete @pkey @privileged",
    "SystemCallFilter=@process @raw-io @reboot @resources @sandbox @setuid @signal @swap @sync @timer",
    "SystemCallFilter=~@aio @basic-io @chown @clock @cpu-emulation @debug\nSystemCallFilter=read close",
    "SystemCallFilter=~@ipc @keyring @memlock @module @mount @network-io @obsolete @pkey",
    "SystemCallFilter=~@raw-io @reboot @resources @sandbox @setuid @swap @sync @timer",
];

/// `RestrictNamespaces=`
pub const NAMESPACES: &[&str] = &[
    "RestrictNamespaces=yes",
    "RestrictNamespaces=no",
    "RestrictNamespaces=net",
    "RestrictNamespaces=~net",
    "RestrictNamespaces=~user mnt",
    "RestrictNamespaces=uts ipc pid",
    "RestrictNamespaces=time",
    "RestrictNamespaces=~time",
    "RestrictNamespaces=net time",
    "RestrictNamespaces=cgroup ipc net mnt pid user uts",
    "RestrictNamespaces=yes\nRestrictNamespaces=net",
    "RestrictNamespaces=uts\nRestrictNamespaces=~uts",
    "RestrictNamespaces=net bogus",
    "RestrictNamespaces=uts\nRestrictNamespaces=",
];

/// `RestrictAddressFamilies=`
pub const FAMILIES: &[&str] = &[
    "RestrictAddressFamilies=none",
    "RestrictAddressFamilies=AF_UNIX",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictAddressFamilies=AF_INET AF_NETLINK AF_VSOCK",
    "RestrictAddressFamilies=AF_XDP",
    "RestrictAddressFamilies=AF_MCTP AF_UNIX",
    "RestrictAddressFamilies=AF_FOO",
    "RestrictAddressFamilies=~AF_PACKET",
    "RestrictAddressFamilies=~AF_PACKET AF_FOO AF_INET",
    "RestrictAddressFamilies=~none",
    "RestrictAddressFamilies=~AF_INET\nRestrictAddressFamilies=AF_INET",
    "RestrictAddressFamilies=AF_UNIX AF_INET\nRestrictAddressFamilies=~AF_INET",
    "RestrictAddressFamilies=AF_UNIX\nRestrictAddressFamilies=",
];

/// `SystemCallLog=`
pub const LOGS: &[&str] = &[
    "SystemCallLog=@mount setrlimit",
    "SystemCallLog=~@system-service",
    "SystemCallLog=~",
    "SystemCallLog=socket ipc",
    "SystemCallLog=~socket bind ipc",
    "SystemCallLog=@mount\nSystemCallFilter=~@mount:EPERM chown",
    "SystemCallLog=~@basic-io\nSystemCallFilter=@system-service",
    "SystemCallLog=~@basic-io\nSystemCallFilter=~socket\nRestrictNamespaces=net",
];

/// What a command keeps of its privileges.
pub const PRIVILEGES: &[&str] = &[
    "NoNewPrivileges=yes",
    "NoNewPrivileges=no\nDynamicUser=yes",
    "User=daemon",
    "User=root\nSystemCallFilter=@system-service",
    "User=0\nProtectClock=yes",
    "User=daemon\nSystemCallFilter=@system-service",
    "User=daemon\nSystemCallFilter=@default @basic-io",
    "User=daemon\nSystemCallFilter=@default @basic-io prctl capset",
    "User=daemon\nSystemCallFilter=@default @basic-io prctl capset capget",
    "User=daemon\nSystemCallFilter=@system-service\nSystemCallFilter=~capget:EPERM",
    "User=daemon\nSystemCallFilter=~@mount",
    "User=daemon\nSystemCallFilter=~@mount capget",
    "User=daemon\nSystemCallFilter=~",
    "User=daemon\nProtectClock=yes",
    "User=daemon\nProtectHostname=yes",
    "User=daemon\nMemoryDenyWriteExecute=yes",
    "User=daemon\nPrivateDevices=yes\nNoNewPrivileges=no",
    "User=daemon\nRestrictNamespaces=no",
    "User=daemon\nRestrictNamespaces=net",
    "User=daemon\nRestrictAddressFamilies=~none",
    "User=daemon\nRestrictAddressFamilies=none",
    "User=daemon\nSystemCallArchitectures=native",
    "User=daemon\nSystemCallLog=mount",
    "User=daemon\nSystemCallLog=~mount",
    "User=daemon\nAmbientCapabilities=CAP_SYS_ADMIN\nProtectClock=yes",
    "User=daemon\nAmbientCapabilities=CAP_CHOWN\nProtectClock=yes",
    "User=daemon\nAmbientCapabilities=~CAP_CHOWN\nSystemCallFilter=@default @basic-io",
    "User=daemon\nAmbientCapabilities=CAP_CHOWN cap_sys_admin\nAmbientCapabilities=~CAP_SYS_ADMIN\nProtectClock=yes",
    "User=daemon\nProtectClock=yes\nExecStart=!/run/ut/idler",
    "CapabilityBoundingSet=~CAP_SYS_ADMIN\nProtectClock=yes",
    "CapabilityBoundingSet=~CAP_SYS_ADMIN\nSystemCallFilter=~@mount",
    "PrivateUsers=yes\nProtectClock=yes",
    "PrivateUsers=yes\nUser=daemon\nProtectClock=yes",
    "Group=daemon\nProtectClock=yes",
];

/// Everything, and all settings together.
pub fn table() -> Vec<String> {
    let booleans: Vec<&str> = SINGLE.iter().copied().filter(|line| line.ends_with("=yes")).collect();
    let mut all: Vec<String> = [SINGLE, FILTERS, NAMESPACES, FAMILIES, LOGS, PRIVILEGES]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    all.push(booleans.join("\n"));
    all.push(booleans.join("\n") + "\nSystemCallFilter=@system-service\nSystemCallErrorNumber=EACCES");
    all
}

/// Words for lists of calls.
const WORDS: &[&str] = &[
    "@aio",
    "@basic-io",
    "@chown",
    "@clock",
    "@cpu-emulation",
    "@debug",
    "@file-system",
    "@io-event",
    "@ipc",
    "@keyring",
    "@memlock",
    "@module",
    "@mount",
    "@network-io",
    "@obsolete",
    "@pkey",
    "@privileged",
    "@process",
    "@raw-io",
    "@reboot",
    "@resources",
    "@sandbox",
    "@setuid",
    "@signal",
    "@swap",
    "@sync",
    "@system-service",
    "@timer",
    "@known",
    "setrlimit",
    "prlimit64",
    "mount",
    "chown",
    "uname",
    "socket",
    "socketcall",
    "bind",
    "ipc",
    "shmat",
    "semop",
    "clone3",
    "openat2",
    "fchmodat2",
    "personality",
    "clock_settime",
    "stat64",
    "mmap2",
    "rt_sigtimedwait",
    "ioctl",
    "io_setup",
    "sched_setattr",
    "sysfs",
    "uselib",
    "map_shadow_stack",
    "write",
    "no_such_call",
    "prctl",
    "capset",
];
const ERRNOS: &[&str] = &["EPERM", "EACCES", "ENOSYS", "kill", "0", "133"];
const OTHERS: &[&[&str]] = &[SINGLE, NAMESPACES, FAMILIES, LOGS];

/// Settings put together by chance: `UNITFIX_LIVE_POLICIES` of them (40 where it is not set), from the number
/// `UNITFIX_LIVE_SEED`.
pub fn random() -> Vec<String> {
    let number =
        |name, otherwise| std::env::var(name).map_or(otherwise, |text: String| text.parse().unwrap());
    let mut chance = Chance(number("UNITFIX_LIVE_SEED", 1));
    (0..number("UNITFIX_LIVE_POLICIES", 40)).map(|_| settings(&mut chance)).collect()
}

fn settings(chance: &mut Chance) -> String {
    let mut lines = Vec::new();
    if chance.of(4) > 0 {
        // what systemd itself needs after the filter is there, so that the unit starts
        let allow = chance.of(2) == 0;
        lines.push(if allow {
            "SystemCallFilter=@default".to_owned()
        } else {
            "SystemCallFilter=~kcmp".to_owned()
        });
        for _ in 0..=chance.of(3) {
            let invert = chance.of(2) == 0;
            let mut line = format!("SystemCallFilter={}", if invert { "~" } else { "" });
            for _ in 0..=chance.of(4) {
                line += chance.one(WORDS);
                if chance.of(if invert { 3 } else { 8 }) == 0 {
                    line += ":";
                    line += chance.one(ERRNOS);
                }
                line += " ";
            }
            lines.push(line);
        }
        if chance.of(2) == 0 {
            lines.push(format!("SystemCallErrorNumber={}", chance.one(ERRNOS)));
        }
        lines.push("SystemCallFilter=@default execve".to_owned());
    }
    for _ in 0..chance.of(5) {
        let kind = chance.one(OTHERS);
        lines.push(chance.one(kind).to_owned());
    }
    lines.join("\n")
}

/// Marsaglia's xorshift: the same numbers for the same seed, everywhere.
struct Chance(u64);

impl Chance {
    fn of(&mut self, end: usize) -> usize {
        for shift in [13, -7, 17_i32] {
            self.0 ^= if shift > 0 { self.0 << shift } else { self.0 >> -shift };
        }
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one<'a, T: ?Sized>(&mut self, choices: &'a [&'a T]) -> &'a T {
        choices[self.of(choices.len())]
    }
}
