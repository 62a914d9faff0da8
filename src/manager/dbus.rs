//! The running system's manager over D-Bus: org.freedesktop.systemd1(5).

use super::{Manager, ManagerError, Patience, UnitStatus};
use crate::interrupt::GLANCE;
use crate::replay::Exit;
use crate::unit::UnitName;
use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use zbus::blocking::connection::Builder;
use zbus::blocking::{Connection, MessageIterator, Proxy};
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// A manager that takes longer hangs. A reload with many generators can take its time.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);

/// systemd as PID 1 of this system.
pub struct SystemManager {
    connection: Connection,
    proxy: Proxy<'static>,
    events: Receiver<Event>,
}

/// A signal that the manager sent.
enum Event {
    /// A job ended: its path and result.
    JobRemoved(OwnedObjectPath, String),
    /// Something else happened.
    Change,
}

type Properties = HashMap<String, OwnedValue>;

impl SystemManager {
    /// Connect to it.
    pub fn connect() -> Result<Self, ManagerError> {
        // sd_booted(3)
        if !Path::new("/run/systemd/system").is_dir() {
            return Err(ManagerError::Unreachable("this system was not booted with systemd".into()));
        }
        Self::connect_to_bus().map_err(|error| ManagerError::Unreachable(error.to_string()))
    }

    fn connect_to_bus() -> zbus::Result<Self> {
        let connection = Builder::system()?.method_timeout(ANSWER_WITHIN).build()?;
        let proxy = Proxy::new_owned(connection.clone(), DESTINATION, "/org/freedesktop/systemd1", MANAGER)?;
        proxy.call::<_, _, ()>("Subscribe", &())?;
        let events = listen(&connection)?;
        Ok(SystemManager { connection, proxy, events })
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
            main_times: (service.time("ExecMainStartTimestamp"), service.time("ExecMainExitTimestamp")),
            control_group: service.text("ControlGroup"),
            filter: service.filter(),
            architectures: service.list("SystemCallArchitectures").into_iter().collect(),
        })
    }

    fn job(&self, method: &str, unit: &UnitName, patience: Patience) -> Result<String, ManagerError> {
        let action = format!("{} {unit}", method.trim_end_matches("Unit").to_lowercase());
        let refused = |e: zbus::Error| ManagerError::Refused { action: action.clone(), reason: reason(&e) };
        let job: OwnedObjectPath = self.proxy.call(method, &(unit.as_str(), "replace")).map_err(refused)?;
        let begun = Instant::now();
        loop {
            match self.events.recv_timeout(GLANCE) {
                Ok(Event::JobRemoved(path, result)) if path == job => return Ok(result),
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = "the connection to the message bus ended".to_owned();
                    return Err(ManagerError::Refused { action, reason });
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            match patience {
                Patience::UntilInterrupted(interrupt) if interrupt.raised() => {
                    return Err(ManagerError::Interrupted);
                }
                Patience::AtMost(limit) if begun.elapsed() > limit => {
                    return Err(ManagerError::Late { action, limit });
                }
                _ => {}
            }
        }
    }
}

/// A thread that turns the manager's signals into events. It ends with the process.
fn listen(connection: &Connection) -> zbus::Result<Receiver<Event>> {
    let rule = zbus::MatchRule::builder().msg_type(zbus::message::Type::Signal).sender(DESTINATION)?.build();
    let signals = MessageIterator::for_match_rule(rule, connection, Some(4096))?;
    let (sender, events) = channel();
    std::thread::spawn(move || {
        for message in signals.flatten() {
            let removed = message.header().member().is_some_and(|m| m.as_str() == "JobRemoved");
            let body = message.body();
            let event = match body.deserialize::<(u32, OwnedObjectPath, String, String)>() {
                Ok((_, path, _, result)) if removed => Event::JobRemoved(path, result),
                _ => Event::Change,
            };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    Ok(events)
}

impl Manager for SystemManager {
    fn version(&self) -> Result<u32, ManagerError> {
        let text: String = self.proxy.get_property("Version").map_err(|e| refused("tell its version", &e))?;
        // "252.38-1~deb12u1", "257~rc1-1", "v258"
        let digits: String = text.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| ManagerError::Refused { action: "tell its version".into(), reason: text })
    }

    fn status(&self, unit: &UnitName) -> Result<UnitStatus, ManagerError> {
        let path: OwnedObjectPath = self
            .proxy
            .call("LoadUnit", &(unit.as_str(),))
            .map_err(|e| refused(&format!("load {unit}"), &e))?;
        self.status_at(&path).map_err(|e| refused(&format!("describe {unit}"), &e))
    }

    fn filtered_services(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        type Listed =
            (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
        let states = ["active", "activating", "reloading", "deactivating"];
        let units: Vec<Listed> = self
            .proxy
            .call("ListUnitsByPatterns", &(&states[..], &["*.service"][..]))
            .map_err(|e| refused("list the units", &e))?;
        let describe = |unit: Listed| self.status_at(&unit.6).ok(); // a unit may be gone by now
        Ok(units.into_iter().filter_map(describe).filter(|s| s.filter.0 || !s.filter.1.is_empty()).collect())
    }

    fn reload(&self) -> Result<(), ManagerError> {
        self.proxy.call("Reload", &()).map_err(|e| refused("reload its unit files", &e))
    }

    fn restart(&self, unit: &UnitName, patience: Patience) -> Result<String, ManagerError> {
        self.job("RestartUnit", unit, patience)
    }

    fn stop(&self, unit: &UnitName, patience: Patience) -> Result<String, ManagerError> {
        self.job("StopUnit", unit, patience)
    }

    fn reset_failed(&self, unit: &UnitName) -> Result<(), ManagerError> {
        self.proxy
            .call("ResetFailedUnit", &(unit.as_str(),))
            .map_err(|e| refused(&format!("reset the failed state of {unit}"), &e))
    }

    fn wait_for_change(&self, limit: Duration) {
        // woken or not, the caller looks at the state itself
        let _ = self.events.recv_timeout(limit);
        while self.events.try_recv().is_ok() {}
    }
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

    fn filter(&self) -> (bool, std::collections::BTreeSet<String>) {
        let (allow, names): (bool, Vec<String>) = self.get("SystemCallFilter").unwrap_or_default();
        (allow, names.into_iter().collect())
    }
}
