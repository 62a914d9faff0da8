//! Random units with random trees of drop-ins, in all directories and of all kinds.

use super::lines::{self, Forms};
use super::random::Random;
use super::tree::{Entry, Tree};

/// Units that have nothing to do with those of other samples: each of its names and paths holds its stem.
#[derive(Clone, Debug)]
pub struct Sample {
    pub stem: String,
    /// The units to ask for.
    pub units: Vec<String>,
    pub tree: Tree,
}

impl Sample {
    pub fn renamed(&self, to: &str) -> Self {
        Sample {
            stem: to.to_owned(),
            units: self.units.iter().map(|unit| unit.replace(&self.stem, to)).collect(),
            tree: self.tree.renamed(&self.stem, to),
        }
    }
}

/// Where unit files are. The generators' directories are emptied by a reload.
const FOLDERS: [&str; 8] = [
    "/etc/systemd/system",
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/etc/systemd/system.control",
    "/etc/systemd/system.attached",
];

const DROP_INS: [&str; 9] = [
    "10-a.conf",
    "10-a.conf",
    "20-b.conf",
    "20-b.conf",
    "9-c.conf",
    "Z.conf",
    ".hidden.conf",
    "30-d.conf~",
    "README",
];

/// Drop-ins for every service, which all samples share.
pub fn type_wide(random: &mut Random, forms: &mut Forms) -> Tree {
    let mut tree = Tree::default();
    for _ in 0..random.below(3) {
        let path = format!("{}/service.d/{}", random.pick(&FOLDERS), random.pick(&DROP_INS[..6]));
        let text = lines::file(random, forms, "[Service]\n");
        forms.count("type-wide drop-in");
        tree.put(&path, Entry::File(text));
    }
    tree
}

pub fn sample(random: &mut Random, forms: &mut Forms, stem: &str) -> Sample {
    let mut maker = Maker { random, forms, stem, tree: Tree::default() };
    let shape = maker.random.below(12);
    let (form, unit, file) = match shape {
        0..=4 => ("plain unit", format!("{stem}.service"), format!("{stem}.service")),
        5 | 6 => ("unit with prefixes", format!("{stem}-a-b.service"), format!("{stem}-a-b.service")),
        7 => ("unit with two dashes", format!("{stem}--b.service"), format!("{stem}--b.service")),
        8 => ("instance with its own file", format!("{stem}@x.service"), format!("{stem}@x.service")),
        _ => ("instance of a template", format!("{stem}-a@x-y.service"), format!("{stem}-a@.service")),
    };
    maker.forms.count(form);
    let mut units = vec![unit.clone()];
    maker.fragment(&file);
    if maker.random.percent(15) {
        maker.forms.count("shadowed unit file");
        maker.fragment(&file);
    }
    if maker.random.percent(20) {
        units.extend(maker.alias(&unit, &file));
    }
    let names = units.clone();
    for _ in 0..maker.random.below(6) {
        let name = if maker.random.percent(80) { &names[0] } else { &names[names.len() - 1] };
        maker.drop_in(name);
    }
    let tree = maker.tree;
    Sample { stem: stem.to_owned(), units, tree }
}

struct Maker<'a> {
    random: &'a mut Random,
    forms: &'a mut Forms,
    stem: &'a str,
    tree: Tree,
}

impl Maker<'_> {
    fn folder(&mut self) -> &'static str {
        FOLDERS[self.random.below(FOLDERS.len())]
    }

    fn text(&mut self) -> Vec<u8> {
        lines::file(self.random, self.forms, "[Service]\nExecStart=/bin/true\n")
    }

    /// Something outside of the search path.
    fn elsewhere(&mut self, name: &str) -> String {
        let path = format!("/opt/{}/{name}", self.stem);
        // a second ExecStart= in a drop-in would be another matter
        let text =
            if name == "drop-in" { lines::file(self.random, self.forms, "[Service]\n") } else { self.text() };
        self.tree.put(&path, Entry::File(text));
        path
    }

    fn fragment(&mut self, file: &str) {
        let path = format!("{}/{file}", self.folder());
        let (form, entry) = match self.random.below(40) {
            0 => ("unit masked by a link", Entry::Link("/dev/null".into())),
            1 => ("unit masked by an empty file", Entry::File(Vec::new())),
            2 => ("dangling unit file", Entry::Link(format!("/nonexistent/{file}"))),
            3 => ("linked unit file", Entry::Link(self.elsewhere(file))),
            4 => {
                let other = format!("{}-other.service", self.stem);
                ("linked unit file of another name", Entry::Link(self.elsewhere(&other)))
            }
            5 => {
                let other = format!("{}.text", self.stem);
                ("linked file that is no unit", Entry::Link(self.elsewhere(&other)))
            }
            6 => return self.forms.count("no unit file"),
            7 => {
                // 247 takes units whose targets have the same name for one
                let folder = format!("/opt/{}-folder", self.stem);
                self.tree.put(&folder, Entry::Directory);
                ("link to a directory", Entry::Link(folder))
            }
            8 => ("link to itself in another directory", Entry::Link(format!("{}/{file}", self.folder()))),
            9 => ("unit file without a section", Entry::File(lines::file(self.random, self.forms, ""))),
            10 => ("unit file that is a directory", Entry::Directory),
            11 => ("link to a device", Entry::Link("/dev/zero".into())),
            _ => ("unit file", Entry::File(self.text())),
        };
        self.forms.count(form);
        self.tree.put(&path, entry);
    }

    /// A link to the unit in the search path; returns the name to ask for.
    fn alias(&mut self, unit: &str, file: &str) -> Option<String> {
        let instance = unit.split_once('@').map(|(_, rest)| rest);
        let stem = self.stem;
        let name = |with: &str| match instance {
            Some(_) => format!("{stem}-other@{with}"),
            None => format!("{stem}-other.service"),
        };
        let folder = self.folder();
        let (form, link, target) = match self.random.below(9) {
            0 => ("relative alias", name(".service"), file.to_owned()),
            1 if instance.is_some() => ("alias of an instance", name(instance?), file.to_owned()),
            2 if instance.is_some() => ("alias of another instance", name("z.service"), unit.to_owned()),
            3 => ("alias of another type", name(".service"), format!("{stem}.socket")),
            4 => {
                let middle = format!("{stem}-middle{}", instance.map_or("", |_| "@"));
                let path = format!("{}/{middle}.service", self.folder());
                self.tree.put(&path, Entry::Link(file.to_owned()));
                ("alias of an alias", name(".service"), format!("{middle}.service"))
            }
            5 => {
                let own = name(".service");
                let back = Entry::Link(own.clone());
                self.tree.put(&format!("{folder}/{stem}-back{}", &own[stem.len() + 6..]), back);
                ("aliases in a circle", own.clone(), format!("{stem}-back{}", &own[stem.len() + 6..]))
            }
            6 => ("alias into nowhere", name(".service"), format!("{folder}/{stem}-nowhere.service")),
            _ => ("absolute alias", name(".service"), format!("{}/{file}", self.folder())),
        };
        self.forms.count(form);
        self.tree.put(&format!("{folder}/{link}"), Entry::Link(target));
        match instance {
            Some(instance) if link.ends_with("@.service") => {
                Some(link.replace("@.service", &format!("@{instance}")))
            }
            _ => Some(link),
        }
    }

    fn drop_in(&mut self, unit: &str) {
        let (prefix, instance) = match unit.trim_end_matches(".service").split_once('@') {
            Some((prefix, instance)) => (prefix.to_owned(), Some(instance.to_owned())),
            None => (unit.trim_end_matches(".service").to_owned(), None),
        };
        let shorter = prefix.rsplit_once('-').map_or(prefix.clone(), |(shorter, _)| format!("{shorter}-"));
        let shortest = prefix.split_once('-').map_or(prefix.clone(), |(shortest, _)| format!("{shortest}-"));
        let (form, owner) = match (self.random.below(9), instance) {
            (0, Some(instance)) => ("drop-in of a prefix and an instance", format!("{shorter}@{instance}")),
            (1, Some(_)) => ("drop-in of a prefix and a template", format!("{shorter}@")),
            (2 | 3, Some(_)) => ("drop-in of a template", format!("{prefix}@")),
            (4, _) => ("drop-in of a prefix", shorter),
            (5, _) => ("drop-in of a shorter prefix", shortest),
            (_, Some(instance)) => ("drop-in of an instance", format!("{prefix}@{instance}")),
            (_, None) => ("drop-in of a unit", prefix),
        };
        self.forms.count(form);
        let folder = format!("{}/{owner}.service.d", self.folder());
        if self.random.percent(10) {
            return self.linked_folder(&folder);
        }
        let file = DROP_INS[self.random.below(DROP_INS.len())];
        let entry = self.drop_in_entry();
        self.tree.put(&format!("{folder}/{file}"), entry);
    }

    fn drop_in_entry(&mut self) -> Entry {
        let (form, entry) = match self.random.below(30) {
            0 => ("drop-in masked by a link", Entry::Link("/dev/null".into())),
            1 => ("drop-in masked by an empty file", Entry::File(Vec::new())),
            2 => ("dangling drop-in", Entry::Link("/nonexistent".into())),
            3 => ("directory for a drop-in", Entry::Directory),
            4 => ("linked drop-in", Entry::Link(self.elsewhere("drop-in"))),
            5 => {
                self.elsewhere("drop-in");
                let target = format!("../../../../../../../opt/{}/drop-in", self.stem);
                ("drop-in by a relative link", Entry::Link(target))
            }
            6 => ("drop-in without a section", Entry::File(lines::file(self.random, self.forms, ""))),
            _ => ("drop-in", Entry::File(lines::file(self.random, self.forms, "[Service]\n"))),
        };
        self.forms.count(form);
        entry
    }

    /// A drop-in directory that is a link.
    fn linked_folder(&mut self, folder: &str) {
        let stem = self.stem;
        let inside = format!("/opt/{stem}/linked.d/20-b.conf");
        let text = lines::file(self.random, self.forms, "[Service]\n");
        self.tree.put(&inside, Entry::File(text));
        let (form, target) = match self.random.below(6) {
            0 | 1 => ("drop-in directory by an absolute link", format!("/opt/{stem}/linked.d")),
            2 => {
                // beside the link, so that it leads nowhere from the root
                let beside = format!("{}/linked-{stem}.d", folder.rsplit_once('/').unwrap().0);
                let text = lines::file(self.random, self.forms, "[Service]\n");
                self.tree.put(&format!("{beside}/20-b.conf"), Entry::File(text));
                ("drop-in directory by a relative link", format!("linked-{stem}.d"))
            }
            3 => {
                let target = format!("../../../../../../../opt/{stem}/linked.d");
                ("drop-in directory by a link that climbs to the root", target)
            }
            4 => ("dangling drop-in directory", format!("/nonexistent/{stem}.d")),
            _ => ("drop-in directory by a link to a file", inside),
        };
        self.forms.count(form);
        self.tree.put(folder, Entry::Link(target));
    }
}
