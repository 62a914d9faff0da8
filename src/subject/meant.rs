//! Which service is meant by what somebody typed, as far as systemctl(1) would understand it: a name without a suffix,
//! another name of a service, what starts one. And what to say where none is.

use super::Failure;
use super::running::{failure, load_failure};
use crate::cli::{as_typed, quoted};
use crate::evidence::one_line;
use crate::explain::closest_unit;
use crate::manager::Manager;
use crate::plan::list;
use crate::report::output;
use crate::root::Root;
use crate::scope::Scope;
use crate::syscalls::Groups;
use crate::unit::{
    BadName, LoadError, NameMap, Triggered, Unit, UnitName, enabled_instances, template_of_connections,
    trigger_stem,
};
use std::path::{Path, PathBuf};

/// So many instances of a template are named.
const INSTANCES: usize = 5;

/// Who knows which units there are.
#[derive(Clone, Copy)]
pub enum Register<'a> {
    /// The running manager, and whose it is.
    Manager(&'a dyn Manager, &'a Scope),
    /// The files below a root folder, by the rules of this major version.
    Files(&'a Root, u32),
}

impl<'a> Register<'a> {
    /// The files below a root folder, by the rules of the systemd that is there.
    #[must_use]
    pub fn below(root: &'a Root) -> Self {
        Register::Files(root, super::rooted::version_below(root).unwrap_or_else(Groups::newest_version))
    }

    /// The service that is meant. Where it goes by another name than was typed, that is said.
    pub fn service(self, asked: &str) -> Result<UnitName, Failure> {
        match UnitName::parse(asked) {
            Ok(name) => Ok(name),
            Err(BadName::Template(..)) => Err(self.which_instance(&template_name(asked), "")),
            Err(BadName::NotAService(_)) if trigger_stem(asked).is_some() => self.started_by(asked),
            Err(bad) => Err(Failure::Usage(bad.to_string())),
        }
    }

    /// What a socket, timer or path starts.
    fn started_by(self, asked: &str) -> Result<UnitName, Failure> {
        let shown = one_line(asked);
        let Some(started) = self.triggered(asked)? else {
            return Err(self.not_found(asked));
        };
        let unit = match started {
            Triggered::Template(template) => {
                let why = format!("{shown} starts an instance of it for each connection");
                return Err(self.which_instance(&template, &why));
            }
            Triggered::Unit(unit) => unit,
        };
        let Ok(name) = UnitName::parse(&unit) else {
            let unit = one_line(&unit);
            return Err(Failure::Usage(format!(
                "{shown} starts {unit}, which is not a service: only services have a system call filter that unitfix \
                 can repair; `unitfix scan` finds them"
            )));
        };
        output::message(&format!("unitfix: {shown} starts {name}, which is meant\n"));
        Ok(name)
    }

    fn triggered(self, asked: &str) -> Result<Option<Triggered>, Failure> {
        let manager = match self {
            Register::Files(root, version) => return Ok(Triggered::find(root, asked, version)),
            Register::Manager(manager, _) => manager,
        };
        let triggers = manager.triggers(asked).map_err(failure)?;
        Ok(triggers.map(|units| match units.into_iter().next() {
            Some(unit) => Triggered::Unit(unit),
            None if asked.ends_with(".socket") => Triggered::Template(template_of_connections(asked)),
            None => Triggered::Unit(format!("{}.service", trigger_stem(asked).unwrap_or(asked))),
        }))
    }

    /// A template alone cannot run: which of its instances there are.
    fn which_instance(self, template: &str, why: &str) -> Failure {
        let prefix = template.split_once('@').map_or(template, |(prefix, _)| prefix);
        let known = self.known();
        if !known.is_empty() && !known.iter().any(|name| name == template) {
            return self.not_found(template);
        }
        let (instances, how) = match self {
            Register::Manager(..) => {
                let of_it = |name: &&String| {
                    UnitName::parse(name).is_ok_and(|n| n.instance().is_some() && n.prefix() == prefix)
                };
                (known.iter().filter(of_it).cloned().collect(), "loaded")
            }
            Register::Files(root, version) => (enabled_instances(root, prefix, version), "enabled"),
        };
        let why = if why.is_empty() { String::new() } else { format!("; {why}") };
        let template = one_line(template);
        let advice = match instances.len() {
            0 => format!("Name an instance of it, for example {}", template.replacen('@', "@1", 1)),
            1 => format!("Name its instance that is {how}: {}", list(&instances)),
            n if n <= INSTANCES => format!("Name one of its instances that are {how}: {}", list(&instances)),
            n => {
                let first = instances[..INSTANCES].join(", ");
                format!("Name one of its instances, of which {n} are {how}: {first}, ...")
            }
        };
        Failure::Usage(format!("{template} is a template{why}. {advice}"))
    }

    /// There is no unit of a name: what was probably meant.
    #[must_use]
    pub fn not_found(self, asked: &str) -> Failure {
        let shown = one_line(asked);
        let (scope, place) = match self {
            Register::Manager(_, scope) => (scope, String::new()),
            Register::Files(root, _) if root.is_system() => (&Scope::System, String::new()),
            Register::Files(root, _) => {
                (&Scope::System, format!("--root={} ", as_typed(&root.join(Path::new("/")))))
            }
        };
        if place.is_empty() && *scope == Scope::System && is_of_users(asked) {
            return Failure::Usage(format!(
                "there is no unit {shown} of the system's manager, but one that users' own managers have: \
                 unitfix --user {}",
                quoted(&shown)
            ));
        }
        if Path::new(asked).is_file() {
            return Failure::Usage(format!("there is no unit {shown}, but a file here: unitfix ./{shown}"));
        }
        let known = self.known();
        if let Some(name) = closest_unit(asked, known.iter().map(String::as_str)) {
            return Failure::Usage(format!("there is no unit {shown}: did you mean {name}?"));
        }
        let systemctl = scope.systemctl();
        Failure::Usage(format!(
            "there is no unit {shown} ({systemctl} {place}list-unit-files shows those that exist)"
        ))
    }

    /// A load error, with what was probably meant where there is no such unit.
    pub(super) fn failure(self, error: LoadError) -> Failure {
        match error {
            LoadError::NotFound { name } => self.not_found(&name),
            other => load_failure(other),
        }
    }

    /// The name of the unit itself, where this is another name of it.
    #[must_use]
    pub fn real_name(self, name: &UnitName) -> UnitName {
        match self {
            Register::Manager(manager, _) => {
                let id = manager.status(name).ok().and_then(|status| UnitName::parse(&status.id).ok());
                id.unwrap_or_else(|| name.clone())
            }
            Register::Files(root, version) => Unit::examine(root, name, version).unit.name,
        }
    }

    /// The services, templates and what starts services, as far as can be told; this is only asked for a message.
    fn known(self) -> Vec<String> {
        match self {
            Register::Manager(manager, _) => manager.known_units().unwrap_or_default(),
            Register::Files(root, version) => {
                NameMap::read(root, version).names().map(str::to_owned).collect()
            }
        }
    }
}

/// Say that a unit goes by another name.
pub(super) fn say_real_name(asked: &UnitName, real: &UnitName) {
    if asked != real {
        output::message(&format!("unitfix: {asked} is another name of {real}\n"));
    }
}

/// A template's whole name.
fn template_name(asked: &str) -> String {
    if asked.ends_with(".service") { asked.to_owned() } else { format!("{asked}.service") }
}

/// Whether users' own managers would find a unit of this name, as far as files tell (systemd.unit(5), "User Unit Search
/// Path").
fn is_of_users(name: &str) -> bool {
    let Ok(name) = UnitName::parse(name) else { return false };
    let own = Scope::of_caller().unit_folders();
    let of_all = ["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"];
    let folders = own.into_iter().chain(of_all.map(PathBuf::from));
    folders.into_iter().any(|folder| folder.join(name.as_str()).is_file())
}
