//! Programs of the system: started from where the system keeps them, whatever `PATH` says, in an environment of their
//! own and in `/`. What somebody's environment holds (`LD_*`, `SYSTEMD_*`, a locale) does not reach them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the programs of the system are.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The file of a program, if the system has it.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// A program that is asked something, with nothing on its standard input.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_COLORS", "0")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_environment() {
        let shell = find("sh").unwrap();
        assert!(shell.is_absolute());
        let output = command(&shell).args(["-c", "pwd; env | sort"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let own = format!("/\nLC_ALL=C.UTF-8\nPATH={PATH}\nPWD=/\nSYSTEMD_COLORS=0\n");
        assert_eq!(
            text.lines().filter(|l| !l.starts_with("_=")).map(|l| l.to_owned() + "\n").collect::<String>(),
            own
        );
        assert_eq!(find("no-such-program"), None);
    }
}
