//! A running manager over D-Bus: org.freedesktop.systemd1(5).

use super::confinement::SWITCHES;
use super::{Confinement, Manager, ManagerError, Patience, StoppedWith, Timer, UnitStatus};
use crate::failure_point;
use crate::interrupt::GLANCE;
use crate::replay::Exit;
use crate::scope::{Owner, Scope};
use crate::unit::UnitName;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use zbus::MatchRule;
use zbus::blocking::connection::Builder;
use zbus::blocking::fdo::DBusProxy;
use zbus::blocking::{Connection, MessageIterator, Proxy};
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// The system's message bus. `DBUS_SYSTEM_BUS_ADDRESS` does not count: root must not be told of units by anybody else.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// A manager that takes longer hangs. A reload with many generators can take its time.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);

/// A transient unit cannot have the name of a unit that the manager still knows (`BUS_ERROR_UNIT_EXISTS` of systemd).
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// The units that stop when a unit does, by properties of that one. They are the reverse of `Requires=`, `BindsTo=` and
/// `PartOf=`; the last one systemd has from 249 on.
const STOPS_WITH: [&str; 4] = ["RequiredBy", "BoundBy", "ConsistsOf", "PropagatesStopTo"];

/// States in which stopping would change something.
const UP: [&str; 3] = ["active", "activating", "reloading"];

/// A busy manager forgets a unit that was stopped only when it has nothing else to do.
const FORGETS_WITHIN: Duration = Duration::from_secs(20);

/// systemd as PID 1 of this system, or that of a user.
pub struct BusManager {
    connection: Connection,
    proxy: Proxy<'static>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    /// How systemctl is called for it.
    systemctl: &'static str,
    /// The units whose changes are events.
    followed: RefCell<HashSet<OwnedObjectPath>>,
}

/// A signal that the manager sent.
enum Event {
    /// A job ended: its path and result.
    JobRemoved(OwnedObjectPath, String),
    /// A property of a unit that is followed changed.
    Change,
    /// The connection ended.
    Lost,
}

type Properties = HashMap<String, OwnedValue>;

/// A unit as the manager lists it: name, description, `LoadState`, `ActiveState`, `SubState`, the unit that it follows,
/// path, and the job that it has.
type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl BusManager {
    /// Connect to the one of this scope.
    pub fn connect(scope: &Scope) -> Result<Self, ManagerError> {
        if let Some(owner) = scope.owner() {
            let unreachable = |reason| ManagerError::UserUnreachable { user: owner.name.clone(), reason };
            return Self::of_user(scope, owner).map_err(unreachable);
        }
        // sd_booted(3)
        if !Path::new("/run/systemd/system").is_dir() {
            return Err(ManagerError::Unreachable("this system was not booted with systemd".into()));
        }
        let connected = Builder::address(SYSTEM_BUS).and_then(|bus| Self::of_bus(bus, scope));
        connected.map_err(|error| ManagerError::Unreachable(error.to_string()))
    }

    /// Through the user's own message bus. systemctl takes a socket of the manager's without one, whose messages, which
    /// claim to come from a well-known name, zbus does not take.
    fn of_user(scope: &Scope, owner: &Owner) -> Result<Self, String> {
        let runtime = owner.runtime.display();
        let meta = std::fs::metadata(&owner.runtime).map_err(|error| format!("{runtime}: {error}"))?;
        if meta.uid() != owner.uid {
            return Err(format!("{runtime} belongs to user {}", meta.uid()));
        }
        let bus = owner.runtime.join("bus");
        let stream = UnixStream::connect(&bus).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no message bus {} (dbus-user-session)", bus.display())
            }
            _ => format!("{}: {error}", bus.display()),
        })?;
        Self::of_bus(Builder::async_io_unix_stream(stream), scope).map_err(|error| error.to_string())
    }

    fn of_bus(bus: Builder<'_>, scope: &Scope) -> zbus::Result<Self> {
        let systemctl = scope.systemctl();
        let connection = bus.method_timeout(ANSWER_WITHIN).build()?;
        let proxy = Proxy::new_owned(connection.clone(), DESTINATION, "/org/freedesktop/systemd1", MANAGER)?;
        proxy.call::<_, _, ()>("Subscribe", &())?;
        let (sender, events) = channel();
        listen(&connection, signal(MANAGER)?.member("JobRemoved")?.build(), sender.clone())?;
        Ok(BusManager { connection, proxy, events, sender, systemctl, followed: RefCell::default() })
    }

    /// The environment that it hands on to every service, a variable a line.
    pub fn environment(&self) -> Result<Vec<String>, ManagerError> {
        self.proxy.get_property("Environment").map_err(|e| refused("tell its environment", &e))
    }

    /// The umask that it hands on to every service that sets none (proc_pid_status(5)); nothing: it cannot be seen.
    #[must_use]
    pub fn umask(&self) -> Option<u32> {
        let bus = DBusProxy::new(&self.connection).ok()?;
        let pid = bus.get_connection_unix_process_id(DESTINATION.try_into().ok()?).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(umask.trim(), 8).ok()
    }

    /// Have the changes of a unit, and of no other, wake a wait: on a busy system there are many.
    fn follow(&self, path: &OwnedObjectPath) -> zbus::Result<()> {
        if self.followed.borrow_mut().insert(path.clone()) {
            let rule = signal("org.freedesktop.DBus.Properties")?.path(path.clone())?.build();
            listen(&self.connection, rule, self.sender.clone())?;
        }
        Ok(())
    }

    fn properties(&self, path: &OwnedObjectPath, interface: &str) -> zbus::Result<Properties> {
        let proxy =
            Proxy::new(&self.connection, DESTINATION, path.clone(), "org.freedesktop.DBus.Properties")?;
        proxy.call("GetAll", &(interface,))
    }

    fn status_at(&self, path: &OwnedObjectPath) -> zbus::Result<UnitStatus> {
        let unit = Reader(self.properties(path, UNIT)?);
        let service = Reader(self.properties(path, SERVICE)?);
        let (code, status) = (service.number("ExecMainCode"), service.number("ExecMainStatus"));
        Ok(UnitStatus {
            id: unit.text("Id"),
            load_state: unit.text("LoadState"),
            active_state: unit.text("ActiveState"),
            sub_state: unit.text("SubState"),
            fragment: Some(unit.text("FragmentPath")).filter(|p| !p.is_empty()).map(Into::into),
            drop_ins: unit.list("DropInPaths").into_iter().map(Into::into).collect(),
            needs_reload: unit.flag("NeedDaemonReload"),
            result: service.text("Result"),
            // CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2)
            main_exit: match code {
                Some(1) => status.and_then(|s| i32::try_from(s).ok()).map(Exit::Status),
                Some(2 | 3) => status.and_then(|s| i32::try_from(s).ok()).map(Exit::Signal),
                _ => None,
            },
            ran: service.time("ExecMainStartTimestamp") != 0,
            main_pid: service
                .number("ExecMainPID")
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid != 0),
            activated: unit.time("InactiveExitTimestamp"),
            run_began: service.run_began(),
            main_times: (service.time("ExecMainStartTimestamp"), service.time("ExecMainExitTimestamp")),
            control_group: service.text("ControlGroup"),
            filter: service.filter(),
            architectures: service.list("SystemCallArchitectures").into_iter().collect(),
            bounding_set: service.get("CapabilityBoundingSet"),
            confinement: service.confinement(),
        })
    }

    /// Have a job begun, without waiting for it.
    fn enqueue(&self, method: &str, unit: &str) -> Result<OwnedObjectPath, ManagerError> {
        let action = format!("{} {unit}", method.trim_end_matches("Unit").to_lowercase());
        pass(&action)?;
        self.proxy.call(method, &(unit, "replace")).map_err(|e| refused(&action, &e))
    }

    fn job(&self, method: &str, unit: &UnitName, patience: Patience) -> Result<String, ManagerError> {
        let action = format!("{} {unit}", method.trim_end_matches("Unit").to_lowercase());
        let job = self.enqueue(method, unit.as_str())?;
        pass(&format!("wait for it to {action}"))?;
        let begun = Instant::now();
        loop {
            match self.events.recv_timeout(GLANCE) {
                Ok(Event::JobRemoved(path, result)) if path == job => return Ok(result),
                Ok(Event::Lost) => {
                    let reason = "the connection to the message bus ended".to_owned();
                    return Err(ManagerError::Refused { action, reason });
                }
                Ok(_) | Err(_) => {}
            }
            if !(patience.go_on)() {
                return Err(ManagerError::Interrupted);
            }
            if let Some(limit) = patience.limit.filter(|limit| begun.elapsed() > *limit) {
                return Err(ManagerError::Late { action, limit, systemctl: self.systemctl });
            }
        }
    }
}

fn timer_unit(name: &str) -> String {
    format!("{name}.timer")
}

/// A signal of the manager's.
fn signal(interface: &'static str) -> zbus::Result<zbus::match_rule::Builder<'static>> {
    MatchRule::builder().msg_type(zbus::message::Type::Signal).sender(DESTINATION)?.interface(interface)
}

/// A thread that turns signals into events. It ends with the process.
fn listen(connection: &Connection, rule: MatchRule<'_>, events: Sender<Event>) -> zbus::Result<()> {
    let signals = MessageIterator::for_match_rule(rule.into_owned(), connection, Some(4096))?;
    std::thread::spawn(move || {
        for message in signals.flatten() {
            let removed = message.header().member().is_some_and(|m| m.as_str() == "JobRemoved");
            let body = message.body();
            let event = match body.deserialize::<(u32, OwnedObjectPath, String, String)>() {
                Ok((_, path, _, result)) if removed => Event::JobRemoved(path, result),
                _ => Event::Change,
            };
            if events.send(event).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Lost); // nobody listens any more: nobody waits
    });
    Ok(())
}

impl Manager for BusManager {
    fn version(&self) -> Result<u32, ManagerError> {
        let text: String = self.proxy.get_property("Version").map_err(|e| refused("tell its version", &e))?;
        // "252.38-1~deb12u1", "257~rc1-1", "v258"
        let digits: String = text.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| ManagerError::Refused { action: "tell its version".into(), reason: text })
    }

    fn status(&self, unit: &UnitName) -> Result<UnitStatus, ManagerError> {
        pass(&format!("describe {unit}"))?;
        let path: OwnedObjectPath = self
            .proxy
            .call("LoadUnit", &(unit.as_str(),))
            .map_err(|e| refused(&format!("load {unit}"), &e))?;
        let described = self.follow(&path).and_then(|()| self.status_at(&path));
        described.map_err(|e| refused(&format!("describe {unit}"), &e))
    }

    fn filtered_services(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        let states = ["active", "activating", "reloading", "deactivating"];
        let units: Vec<Listed> = self
            .proxy
            .call("ListUnitsByPatterns", &(&states[..], &["*.service"][..]))
            .map_err(|e| refused("list the units", &e))?;
        let describe = |unit: Listed| self.status_at(&unit.6).ok(); // a unit may be gone by now
        Ok(units.into_iter().filter_map(describe).filter(|s| s.filter.0 || !s.filter.1.is_empty()).collect())
    }

    fn triggers(&self, unit: &str) -> Result<Option<Vec<String>>, ManagerError> {
        let action = format!("load {unit}");
        let path = self.proxy.call::<_, _, OwnedObjectPath>("LoadUnit", &(unit,));
        let path = path.map_err(|e| refused(&action, &e))?;
        let unit = Reader(self.properties(&path, UNIT).map_err(|e| refused(&action, &e))?);
        Ok((unit.text("LoadState") != "not-found").then(|| unit.list("Triggers")))
    }

    fn known_units(&self) -> Result<Vec<String>, ManagerError> {
        let action = "list its units";
        let files: Vec<(String, String)> =
            self.proxy.call("ListUnitFiles", &()).map_err(|e| refused(action, &e))?;
        let loaded: Vec<Listed> = self.proxy.call("ListUnits", &()).map_err(|e| refused(action, &e))?;
        let files = files.iter().filter_map(|(path, _)| Path::new(path).file_name()?.to_str());
        let loaded = loaded.iter().filter(|unit| unit.2 != "not-found").map(|unit| unit.0.as_str());
        let names: BTreeSet<String> = files.chain(loaded).map(str::to_owned).collect();
        Ok(names.into_iter().collect())
    }

    fn reload(&self) -> Result<(), ManagerError> {
        pass("reload its unit files")?;
        self.proxy.call("Reload", &()).map_err(|e| refused("reload its unit files", &e))
    }

    fn restart(&self, unit: &UnitName, patience: Patience) -> Result<String, ManagerError> {
        self.job("RestartUnit", unit, patience)
    }

    fn stop(&self, unit: &UnitName, patience: Patience) -> Result<String, ManagerError> {
        self.job("StopUnit", unit, patience)
    }

    fn stopped_with(&self, unit: &UnitName) -> Result<Vec<StoppedWith>, ManagerError> {
        let action = format!("tell what depends on {unit}");
        let of = |name: &str| -> zbus::Result<Reader> {
            let path: OwnedObjectPath = self.proxy.call("LoadUnit", &(name,))?;
            Ok(Reader(self.properties(&path, UNIT)?))
        };
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut next = vec![unit.to_string()];
        while let Some(name) = next.pop() {
            let unit = of(&name).map_err(|e| refused(&action, &e))?;
            for name in STOPS_WITH.iter().flat_map(|property| unit.list(property)) {
                let Ok(other) = of(&name) else { continue };
                let up = UP.contains(&other.text("ActiveState").as_str());
                if up && seen.insert(name.clone()) {
                    found.push(StoppedWith { name: name.clone(), can_start: other.flag("CanStart") });
                    next.push(name);
                }
            }
        }
        Ok(found)
    }

    fn start(&self, unit: &UnitName, patience: Patience) -> Result<String, ManagerError> {
        self.job("StartUnit", unit, patience)
    }

    fn start_soon(&self, unit: &str) -> Result<(), ManagerError> {
        self.enqueue("StartUnit", unit).map(drop)
    }

    fn reset_failed(&self, unit: &UnitName) -> Result<(), ManagerError> {
        let action = format!("reset the failed state of {unit}");
        pass(&action)?;
        self.proxy.call("ResetFailedUnit", &(unit.as_str(),)).map_err(|e| refused(&action, &e))
    }

    fn start_timer(&self, timer: &Timer) -> Result<(), ManagerError> {
        let micros = u64::try_from(timer.delay.as_micros()).unwrap_or(u64::MAX);
        let lines = timer.commands.iter().filter_map(|(words, unless_it_fails)| {
            Some((words.first()?.clone(), words.clone(), *unless_it_fails))
        });
        let lines: Vec<(String, Vec<String>, bool)> = lines.collect();
        let properties = vec![
            ("Description", Value::from(timer.description.as_str())),
            ("TimersMonotonic", Value::new(vec![("OnActiveSec", micros)])),
            ("AccuracyUSec", Value::from(1_000_000_u64)),
            ("RemainAfterElapse", Value::from(false)),
            // it is let begin anew at every run of the unit, which from systemd 254 or so on would count as too often
            ("StartLimitIntervalUSec", Value::from(0_u64)),
            ("CollectMode", Value::from("inactive-or-failed")),
        ];
        let service = vec![
            ("Description", Value::from(timer.deed.as_str())),
            ("Type", Value::from("oneshot")),
            ("CollectMode", Value::from("inactive-or-failed")),
            ("ExecStart", Value::new(lines)),
        ];
        let auxiliary = vec![(format!("{}.service", timer.name), service)];
        let name = timer_unit(&timer.name);
        pass(&format!("start {name}"))?;
        let begun = Instant::now();
        loop {
            let arguments = (name.as_str(), "replace", &properties, &auxiliary);
            match self.proxy.call::<_, _, OwnedObjectPath>("StartTransientUnit", &arguments) {
                // the one before was stopped, and the manager has not forgotten it yet
                Err(zbus::Error::MethodError(error, ..))
                    if error.as_str() == UNIT_EXISTS && begun.elapsed() < FORGETS_WITHIN =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                answer => return answer.map(drop).map_err(|e| refused(&format!("start {name}"), &e)),
            }
        }
    }

    fn restart_timer(&self, name: &str) -> Result<(), ManagerError> {
        self.enqueue("RestartUnit", &timer_unit(name)).map(drop)
    }

    fn stop_timer(&self, name: &str) -> Result<(), ManagerError> {
        self.enqueue("StopUnit", &timer_unit(name)).map(drop)
    }

    fn wait_for_change(&self, limit: Duration) -> bool {
        let woken = self.events.recv_timeout(limit).is_ok();
        while self.events.try_recv().is_ok() {} // the caller looks at the state itself
        woken
    }
}

/// A failure point of the manager's.
fn pass(action: &str) -> Result<(), ManagerError> {
    failure_point::pass("have the manager", action)
        .map_err(|error| ManagerError::Refused { action: action.to_owned(), reason: error.to_string() })
}

fn refused(action: &str, error: &zbus::Error) -> ManagerError {
    ManagerError::Refused { action: action.to_owned(), reason: reason(error) }
}

/// The manager's own words, without the name of the D-Bus error where there are words.
fn reason(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads properties; one that is missing, in an older version, counts as empty.
struct Reader(Properties);

impl Reader {
    fn get<T: TryFrom<OwnedValue>>(&self, key: &str) -> Option<T> {
        T::try_from(self.0.get(key)?.try_clone().ok()?).ok()
    }

    fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or_default()
    }

    fn list(&self, key: &str) -> Vec<String> {
        self.get(key).unwrap_or_default()
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key).unwrap_or_default()
    }

    fn number(&self, key: &str) -> Option<i64> {
        let unsigned = || self.get::<u32>(key).map(i64::from);
        let signed = || self.get::<i32>(key).map(i64::from);
        unsigned().or_else(signed).or_else(|| self.get::<u64>(key).and_then(|n| i64::try_from(n).ok()))
    }

    fn time(&self, key: &str) -> u64 {
        self.get(key).unwrap_or_default()
    }

    /// When the latest run began. The times of commands are taken back when a run begins (`service_start()` in
    /// src/core/service.c), but for that of the main process, which may be of an earlier one.
    fn run_began(&self) -> u64 {
        let commands = ["ExecCondition", "ExecStartPre", "ExecStart"];
        let first = commands.into_iter().filter_map(|key| self.first_began(key)).min();
        first.unwrap_or_else(|| self.time("ExecMainStartTimestamp"))
    }

    /// When the first of the commands of a setting began that have begun (`a(sasbttttuii)`).
    fn first_began(&self, key: &str) -> Option<u64> {
        let Value::Array(commands) = &**self.0.get(key)? else { return None };
        let began = commands.iter().filter_map(|command| match command {
            Value::Structure(fields) => match fields.fields().get(3) {
                Some(Value::U64(began)) if *began != 0 => Some(*began),
                _ => None,
            },
            _ => None,
        });
        began.min()
    }

    fn filter(&self) -> (bool, BTreeSet<String>) {
        self.list_with_kind("SystemCallFilter")
    }

    fn list_with_kind(&self, key: &str) -> (bool, BTreeSet<String>) {
        let (allow, names): (bool, Vec<String>) = self.get(key).unwrap_or_default();
        (allow, names.into_iter().collect())
    }

    fn confinement(&self) -> Confinement {
        let known = SWITCHES.into_iter().filter_map(|key| Some((key, self.get::<bool>(key)?)));
        // from 258 on there is a third state, which the older property shows as on
        let mode = self.get::<(String, String)>("ProtectHostnameEx").map(|(mode, _)| mode);
        let on = if self.flag("ProtectHostname") { "yes" } else { "no" };
        Confinement {
            families: self.list_with_kind("RestrictAddressFamilies"),
            namespaces: self.get("RestrictNamespaces").unwrap_or_default(),
            hostname: mode.unwrap_or_else(|| on.to_owned()),
            switches: known.collect(),
        }
    }
}
