//! What packages are made of is of one version, and installs the same everywhere. That a package can be installed, works
//! and can be taken away is shown by the live tests, `packaged`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)] // a failure anywhere here is the test's

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use unitfix::report::MESSAGE_ID;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAM: &str = env!("CARGO_BIN_EXE_unitfix");

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The files below a folder, with their modes.
fn files(folder: &Path) -> BTreeMap<PathBuf, u32> {
    let mut out = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                assert_eq!(meta.permissions().mode() & 0o7777, 0o755, "{}", path.display());
                left.push(path);
            } else {
                let inside = Path::new("/").join(path.strip_prefix(folder).unwrap());
                out.insert(inside, meta.permissions().mode() & 0o7777);
            }
        }
    }
    out
}

/// What packaging/install installs.
fn installed() -> BTreeMap<PathBuf, u32> {
    let folder = tempfile::tempdir().unwrap();
    let destdir = folder.path().join("new");
    run(Command::new(top().join("packaging/install"))
        .args([destdir.as_path(), Path::new(PROGRAM)])
        .current_dir("/"));
    files(&destdir)
}

#[test]
fn all_packages_are_of_one_version() {
    let deb = text("packaging/deb/changelog");
    assert!(deb.starts_with(&format!("unitfix ({VERSION}-1) ")), "{deb}");
    assert!(text("packaging/arch/PKGBUILD").contains(&format!("\npkgver={VERSION}\npkgrel=1\n")));
    assert!(text("packaging/rpm/unitfix.spec").contains(&format!("\nVersion:        {VERSION}\n")));
    assert!(text("packaging/rpm/unitfix.spec").contains(&format!("> - {VERSION}-1\n")), "its %changelog");
    let toolchain =
        text("Cargo.toml").lines().find_map(|l| l.strip_prefix("rust-version = \"").map(str::to_owned));
    let needs = format!("BuildRequires:  cargo >= {}\n", toolchain.unwrap().trim_end_matches('"'));
    assert!(text("packaging/rpm/unitfix.spec").contains(&needs), "{needs}");
    let licence = text("LICENSE-MIT");
    let holder = licence.lines().find_map(|line| line.strip_prefix("Copyright (c) ")).unwrap();
    assert!(text("packaging/deb/copyright").contains(&format!("\nCopyright: {holder}\n")), "{holder}");
    assert!(
        text("Cargo.toml").contains(&format!("\ncopyright = \"{}\"\n", holder.replacen(' ', ", ", 1))),
        "{holder}"
    );
}

#[test]
fn the_catalog_explains_the_message() {
    let catalog = text("packaging/systemd/unitfix.catalog");
    assert!(catalog.contains(&format!("\n-- {MESSAGE_ID}\nSubject: ")), "{catalog}");
    assert!(text("man/unitfix.1").contains(MESSAGE_ID));
    // every field that it puts in is one of the entry's
    for field in catalog.split('@').skip(1).step_by(2) {
        assert!(text("src/report/notice.rs").contains(&format!(".field(\"{field}\", ")), "{field}");
    }
}

/// Every manual and every completion that there is, and the rest.
#[test]
fn everything_is_installed() {
    let installed = installed();
    assert_eq!(installed.get(Path::new("/usr/bin/unitfix")), Some(&0o755));
    assert_eq!(installed.get(Path::new("/usr/lib/unitfix/upgrade-hook")), Some(&0o755));
    let programs = installed.values().filter(|mode| **mode != 0o644).count();
    assert_eq!(programs, 2, "{installed:#?}");
    let mut expected = vec![
        "/usr/lib/systemd/system/unitfix@.service".to_owned(),
        "/usr/lib/systemd/catalog/unitfix.catalog".to_owned(),
        "/usr/share/doc/unitfix/examples/apt/80unitfix".to_owned(),
        "/usr/share/doc/unitfix/examples/report.service".to_owned(),
    ];
    for manual in names("man") {
        if Path::new(&manual).extension().is_some_and(|kind| kind == "json") {
            expected.push(format!("/usr/share/doc/unitfix/{manual}"));
            continue;
        }
        let section = manual.rsplit('.').next().unwrap().to_owned();
        expected.push(format!("/usr/share/man/man{section}/{manual}"));
    }
    for script in names("completions") {
        expected.push(match script.as_str() {
            "unitfix.bash" => "/usr/share/bash-completion/completions/unitfix".to_owned(),
            "_unitfix" => "/usr/share/zsh/site-functions/_unitfix".to_owned(),
            fish => format!("/usr/share/fish/vendor_completions.d/{fish}"),
        });
    }
    for path in expected {
        assert!(installed.contains_key(Path::new(&path)), "{path} is not in {installed:#?}");
    }
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(top().join(folder)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// cargo-deb's list has the same files. Debian has zsh's completions elsewhere, and a changelog by that name.
#[test]
fn the_deb_has_the_same() {
    let manifest = text("Cargo.toml");
    let (_, assets) = manifest.split_once("\nassets = [\n").unwrap();
    let (assets, _) = assets.split_once("\n]").unwrap();
    let mut listed = BTreeMap::new();
    for line in assets.lines() {
        let words: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        let [source, target, mode] = words[..] else { panic!("{line}") };
        let mode = u32::from_str_radix(mode, 8).unwrap();
        let (folder, name) = source.rsplit_once('/').unwrap_or((".", source));
        let (begin, end) = name.split_once('*').unwrap_or((name, ""));
        let matches = |file: &String| {
            if name.contains('*') {
                file.starts_with(begin) && file.ends_with(end) && top().join(folder).join(file).is_file()
            } else {
                file == name
            }
        };
        let sources = if folder == "target/release" { vec![name.to_owned()] } else { names(folder) };
        let found: Vec<String> = sources.into_iter().filter(matches).collect();
        assert!(!found.is_empty(), "{line}: there is no such file");
        for file in found {
            let path = if target.ends_with('/') { format!("/{target}{file}") } else { format!("/{target}") };
            listed.insert(PathBuf::from(path), mode);
        }
    }
    let renamed = |path: &Path| match path.to_str().unwrap() {
        "/usr/share/zsh/site-functions/_unitfix" => {
            PathBuf::from("/usr/share/zsh/vendor-completions/_unitfix")
        }
        "/usr/share/doc/unitfix/CHANGELOG.md" => PathBuf::from("/usr/share/doc/unitfix/changelog"),
        other => PathBuf::from(other),
    };
    let mut expected: BTreeMap<PathBuf, u32> =
        installed().into_iter().map(|(path, mode)| (renamed(&path), mode)).collect();
    expected.insert(PathBuf::from("/usr/share/lintian/overrides/unitfix"), 0o644);
    assert_eq!(listed, expected);
}

/// A folder with what a build leaves: the sources, and something in the place of the program, which is not looked into.
fn built() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sources = folder.path().join(format!("unitfix-{VERSION}"));
    fs::create_dir(&sources).unwrap();
    for name in ["packaging", "man", "completions", "examples"] {
        if top().join(name).exists() {
            run(Command::new("cp").arg("-r").arg(top().join(name)).arg(&sources));
        }
    }
    for name in ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(top().join(name), sources.join(name)).unwrap();
    }
    fs::create_dir_all(sources.join("target/release")).unwrap();
    write_program(&sources.join("target/release/unitfix"), "#!/bin/sh\n");
    folder
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What makepkg(8) does with package(); CONTRIBUTING.md says how to try makepkg itself.
#[test]
fn the_pkgbuild_packages_the_same() {
    let folder = built();
    let script = r#"
        set -euo pipefail
        . "$1"
        cd "$2" && srcdir=$2 pkgdir=$2/pkg
        [[ $pkgname == unitfix && ${#source[@]} == "${#sha256sums[@]}" && -n $pkgdesc ]]
        for function in prepare build check; do declare -F "$function" >/dev/null; done
        package
    "#;
    run(Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(top().join("packaging/arch/PKGBUILD"))
        .arg(folder.path()));
    let mut expected = installed();
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        expected.insert(Path::new("/usr/share/licenses/unitfix").join(licence), 0o644);
    }
    assert_eq!(files(&folder.path().join("pkg")), expected);
}

/// rpmbuild(8) makes a package of the spec, with a cargo that has built everything before; `.ci/run` installs it.
#[test]
fn the_spec_packages_the_same() {
    let folder = built();
    let (sources, cargo) = (folder.path().join("SOURCES"), folder.path().join("bin/cargo"));
    fs::create_dir(&sources).unwrap();
    let archive = sources.join(format!("unitfix-{VERSION}.tar.gz"));
    run(Command::new("tar")
        .arg("-czf")
        .arg(archive)
        .arg("-C")
        .arg(folder.path())
        .arg(format!("unitfix-{VERSION}")));
    fs::create_dir(cargo.parent().unwrap()).unwrap();
    write_program(&cargo, "#!/bin/sh\n[ -x target/release/unitfix ]\n");
    let path = format!("{}:{}", cargo.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let define = |name: &str, value: &str| [String::from("--define"), format!("{name} {value}")];
    let top_of_rpm = folder.path().to_str().unwrap();
    run(Command::new("rpmbuild")
        .args(["-bb", "--nodeps", "--quiet"])
        .args(define("_topdir", top_of_rpm))
        .args(define("_dbpath", &format!("{top_of_rpm}/db")))
        // as quick as can be
        .args(define("_binary_payload", "w0.gzdio"))
        .arg(top().join("packaging/rpm/unitfix.spec"))
        .env("PATH", path));
    let packages: Vec<PathBuf> = files(&folder.path().join("RPMS")).into_keys().collect();
    let [package] = &packages[..] else { panic!("{packages:?}") };
    let package = folder.path().join("RPMS").join(package.strip_prefix("/").unwrap());
    let listed = run(Command::new("rpm")
        .args(["--query", "--package", "--queryformat", "[%{FILENAMES} %{FILEMODES:octal}\n]"])
        .args(define("_dbpath", &format!("{top_of_rpm}/db")))
        .arg(package));
    let (mut found, mut folders) = (BTreeMap::new(), BTreeSet::new());
    for line in listed.lines() {
        let (path, mode) = line.rsplit_once(' ').unwrap();
        let mode = u32::from_str_radix(mode, 8).unwrap();
        if mode & 0o170_000 == 0o040_000 {
            folders.insert(PathBuf::from(path));
        }
        let plain = path.strip_suffix(".gz").filter(|path| path.contains("/man/")).unwrap_or(path);
        if mode & 0o170_000 != 0o040_000 && !path.contains("/licenses/") && !path.contains("/.build-id/") {
            found.insert(PathBuf::from(plain), mode & 0o7777);
        }
    }
    let installed = installed();
    assert_eq!(found, installed);
    // no folder of its own is left when it is removed
    let above = installed.keys().flat_map(|path| path.ancestors().skip(1));
    let own = above.filter(|folder| folder.iter().any(|name| name == "unitfix"));
    let missing: BTreeSet<&Path> = own.filter(|folder| !folders.contains(*folder)).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {folders:?}");
}

#[test]
fn scripts_are_scripts() {
    for (shell, path) in [
        ("sh", "packaging/upgrade/upgrade-hook"),
        ("sh", "packaging/deb/postrm"),
        ("bash", "packaging/install"),
        ("bash", "packaging/arch/PKGBUILD"),
    ] {
        run(Command::new(shell).arg("-n").arg(top().join(path)));
    }
}

/// What pacman(8) reads in them; CONTRIBUTING.md says how to try pacman itself.
#[test]
fn hooks_call_what_is_installed() {
    let installed = installed();
    for (hook, when, what) in [("begin", "PreTransaction", "begin"), ("end", "PostTransaction", "end")] {
        let text = text(&format!("packaging/upgrade/pacman/unitfix-{hook}.hook"));
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        assert_eq!(
            (value("Operation"), value("Type"), value("When")),
            (Some("Upgrade"), Some("Package"), Some(when))
        );
        let (program, argument) = value("Exec").unwrap().split_once(' ').unwrap();
        assert!(installed.contains_key(Path::new(program)) && argument == what, "{text}");
    }
    let apt = text("packaging/upgrade/apt/80unitfix");
    assert_eq!(
        apt.matches("[ ! -x /usr/lib/unitfix/upgrade-hook ] || /usr/lib/unitfix/upgrade-hook ").count(),
        2
    );
}
