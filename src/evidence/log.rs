//! Logs that hold the kernel's records: auditd's own, a file that the user named, or standard input. Read line by
//! line in constant memory, whatever is in them.

pub(super) mod pieces;
pub(super) mod scan;

use super::record::{self, Malformed};
use super::{Denial, Source, Untrusted};
use crate::root::Root;
use crate::syscalls::Call;
use nix::fcntl::OFlag;
use scan::{Batch, Search};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// No record is longer (`MAX_AUDIT_MESSAGE_LENGTH` of audit is 8970, and a path adds 4096 twice); what is, is skipped.
pub(super) const LINE_MAX: usize = 64 * 1024;

/// So many denials are kept one by one.
const DENIALS_MAX: usize = 4_000;

/// So many kinds of denials are counted beyond that.
const KINDS_MAX: usize = 10_000;

/// What the denials' names and arguments may take: of paths of the kernel's full length not that many are kept.
const BYTES_MAX: usize = 4 << 20;

/// The same of the kinds that are counted.
const KINDS_BYTES_MAX: usize = 2 << 20;

/// So many faults are kept with their place.
const FAULTS_MAX: usize = 100;

/// Who made which call: what people want counted.
pub type Kind = (Call, Untrusted, Option<Untrusted>);

/// Denials within bounded memory: the first ones whole, and of the rest the first of each kind; the others are
/// counted by call, name and program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The denials, in the order in which they came.
    pub denials: Vec<Denial>,
    /// Those that came when there was no room for more and are not kept, counted; each kind here is also among the
    /// denials.
    pub more: BTreeMap<Kind, u64>,
    /// Those of so many different names that not even counting them by name was possible.
    pub uncounted: u64,
    /// The bytes of the denials' names and arguments.
    bytes: usize,
    /// Those of the kinds.
    kinds_bytes: usize,
}

impl Kept {
    /// Keep or count one. Returns its place, if it was kept.
    pub fn push(&mut self, denial: Denial) -> Option<usize> {
        let bytes = weight(&denial);
        if self.more.is_empty() && self.denials.len() < DENIALS_MAX && self.bytes + bytes <= BYTES_MAX {
            self.bytes += bytes;
            self.denials.push(denial);
            return Some(self.denials.len() - 1);
        }
        let kind = (denial.call, denial.process.comm.clone(), denial.process.exe.clone());
        if let Some(count) = self.more.get_mut(&kind) {
            *count += 1;
        } else if self.more.len() < KINDS_MAX && self.kinds_bytes + bytes <= KINDS_BYTES_MAX {
            // one of each kind is kept whole, however late it comes
            self.kinds_bytes += bytes;
            self.more.insert(kind, 0);
            self.denials.push(denial);
            return Some(self.denials.len() - 1);
        } else {
            self.uncounted += 1;
        }
        None
    }

    /// How many there were in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        let kept = u64::try_from(self.denials.len()).unwrap_or(u64::MAX);
        kept.saturating_add(self.more.values().sum()).saturating_add(self.uncounted)
    }
}

/// The bytes that a denial has beside itself.
fn weight(denial: &Denial) -> usize {
    let process = &denial.process;
    let names = [Some(&process.comm), process.exe.as_ref(), process.parent.as_ref()];
    let names: usize = names.into_iter().flatten().map(|name| name.bytes().len()).sum();
    names + denial.arguments.iter().map(|argument| argument.len() + size_of::<String>()).sum::<usize>()
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRead {
    /// The forbidden calls.
    pub kept: Kept,
    /// How many lines it has.
    pub lines: u64,
    /// Records of architectures that unitfix has no names for, or of filters that let the call run.
    pub foreign: u64,
    /// Lines that claim to be records and are not what a kernel writes, by number from 1, at most 100.
    pub malformed: Vec<(u64, String)>,
    /// How many such lines there are in all.
    pub malformed_total: u64,
    /// How many lines were longer than any record.
    pub too_long: u64,
}

/// What a line means: a record's call, nothing where the kernel did not forbid it or nobody knows it, or what is wrong.
pub(super) type Meaning = Result<Option<Denial>, Malformed>;

/// What is searched for in a log: what a line has to hold for [`record::parse`] to make something of it.
pub(super) fn search() -> Search {
    Search::new(&["type=1326 ", "SECCOMP "], LINE_MAX).or_beginning("\naudit(")
}

/// What a line means, if it is about a call.
pub(super) fn meaning(line: &[u8], source: &Source) -> Option<Meaning> {
    Some(record::parse(line).transpose()?.map(|record| record.denial(source.clone())))
}

impl LogRead {
    fn add(&mut self, batch: Batch<Meaning>) {
        for (before, meaning) in batch.found {
            match meaning {
                Ok(Some(denial)) => drop(self.kept.push(denial)),
                Ok(None) => self.foreign += 1,
                Err(fault) => {
                    self.malformed_total += 1;
                    if self.malformed.len() < FAULTS_MAX {
                        self.malformed.push((self.lines + before + 1, fault.to_string()));
                    }
                }
            }
        }
        self.lines += batch.lines;
        self.too_long += batch.too_long;
    }

    fn add_file(&mut self, file: &File, source: &Source) -> io::Result<()> {
        let add = |batch| {
            self.add(batch);
            Ok(())
        };
        if file.metadata()?.is_file() {
            search().file(file, |line| meaning(line, source), add)
        } else {
            search().stream(file, |line| meaning(line, source), add)
        }
    }
}

/// Read a log to its end. Bytes that are no text do not matter.
pub fn read_log(reader: impl Read, source: &Source) -> io::Result<LogRead> {
    let mut read = LogRead::default();
    search().stream(
        reader,
        |line| meaning(line, source),
        |batch| {
            read.add(batch);
            Ok(())
        },
    )?;
    Ok(read)
}

/// Read a log that is a file, from its beginning, to the end that it has now.
pub fn read_log_file(file: &File, source: &Source) -> io::Result<LogRead> {
    let mut read = LogRead::default();
    read.add_file(file, source)?;
    Ok(read)
}

/// One line of a stream.
pub(super) enum Line<'a> {
    /// The line, without its end.
    Whole(&'a [u8]),
    /// The beginning of a line that is longer than [`LINE_MAX`].
    TooLong(&'a [u8]),
}

/// The lines of a stream, in constant memory.
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Lines { reader, line: Vec::new() }
    }

    /// The next line; nothing at the end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|b| *b == b'\n');
            let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let room = LINE_MAX - self.line.len();
            too_long |= piece.len() > room;
            self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        match (any, too_long) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(Line::TooLong(&self.line))),
            (true, false) => Ok(Some(Line::Whole(&self.line))),
        }
    }
}

/// Where auditd keeps its log (auditd.conf(5), `log_file`).
const AUDIT_FOLDER: &str = "/var/log/audit";

/// Why auditd's log is not read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Somebody but root could have written it.
    #[error("{}: not believed, because {why}", path.display())]
    NotTrusted {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is there, and cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl LogError {
    /// Whether this user may not read it.
    pub(crate) fn is_not_permitted(&self) -> bool {
        matches!(self, LogError::Read { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Read auditd's log with its rotated files, oldest first. Nothing where there is none, which is normal. On the
/// running system it is believed only where root alone can write it and its directory; the files of another root
/// folder are the user's word.
pub fn audit_log(root: &Root) -> Result<Option<LogRead>, LogError> {
    let mut read = None;
    for path in rotated(root, rotation)? {
        let Some(file) = open_log(root, &path)? else { continue };
        let source = Source::Log(path.clone());
        let into = read.get_or_insert_with(LogRead::default);
        into.add_file(&file, &source).map_err(|error| LogError::Read { path: path.clone(), error })?;
    }
    Ok(read)
}

/// The files of auditd's log, as this process would name them, oldest first, compressed ones too; only those that are
/// believed, by the same rule.
pub(crate) fn audit_files(root: &Root) -> Result<Vec<PathBuf>, LogError> {
    let unpacked = |name: &str| {
        let packed = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end));
        rotation(packed.unwrap_or(name))
    };
    let mut files = Vec::new();
    for path in rotated(root, unpacked)? {
        if open_log(root, &path)?.is_some() {
            files.push(root.join(&path));
        }
    }
    Ok(files)
}

/// The paths of auditd's log inside of a root, oldest first. `rotation` says how often a file was rotated, by its name.
fn rotated(root: &Root, rotation: impl Fn(&str) -> Option<u32>) -> Result<Vec<PathBuf>, LogError> {
    let folder = Path::new(AUDIT_FOLDER);
    let failed = |error| LogError::Read { path: folder.to_owned(), error };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let Some(handle) = open_in(root, folder, flags).map_err(failed)? else {
        return Ok(Vec::new());
    };
    trust(&handle.metadata().map_err(failed)?, owner(root), folder)?;
    let mut names: Vec<_> = root.list(folder).map_err(failed)?;
    names.retain(|name| rotation(&name.to_string_lossy()).is_some());
    names.sort_by_key(|name| std::cmp::Reverse(rotation(&name.to_string_lossy())));
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

/// One file of it, if it is there and believed.
fn open_log(root: &Root, path: &Path) -> Result<Option<File>, LogError> {
    let failed = |error| LogError::Read { path: path.to_owned(), error };
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
    let Some(file) = open_in(root, path, flags).map_err(failed)? else { return Ok(None) };
    trust(&file.metadata().map_err(failed)?, owner(root), path)?;
    Ok(Some(file))
}

/// Who alone may have written it: root on the running system.
fn owner(root: &Root) -> Option<u32> {
    root.is_system().then_some(0)
}

/// How often a log was rotated: 0 for `audit.log`, N for `audit.log.N`; nothing for other files.
fn rotation(name: &str) -> Option<u32> {
    match name.strip_prefix("audit.log")? {
        "" => Some(0),
        suffix => suffix.strip_prefix('.')?.parse().ok(),
    }
}

/// Open something inside of a root folder, links never leading out of it; nothing where it is not there.
fn open_in(root: &Root, path: &Path, flags: OFlag) -> io::Result<Option<File>> {
    match root.open(path, flags) {
        Ok(handle) => Ok(Some(File::from(handle))),
        Err(nix::errno::Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether only this owner can have written something; nobody's word is asked for where there is no owner given.
fn trust(meta: &Metadata, owner: Option<u32>, path: &Path) -> Result<(), LogError> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let no = |why| Err(LogError::NotTrusted { path: path.to_owned(), why });
    if !meta.is_file() && !meta.is_dir() {
        return no("it is neither a file nor a directory");
    }
    match owner {
        Some(owner) if meta.uid() != owner => no("it is not root's"),
        Some(_) if meta.mode() & WRITABLE_BY_OTHERS != 0 => no("others than root can write it"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SAMPLE: &str = include_str!("../../tests/samples/records/kernel.log");

    fn line(pid: u32) -> String {
        format!(
            "type=SECCOMP msg=audit(1.002:3): auid=0 uid=0 gid=0 ses=1 pid={pid} comm=\"a\" exe=\"/a\" sig=31 \
             arch=c000003e syscall=92 compat=0 ip=0x1 code=0x80000000\n"
        )
    }

    fn read(bytes: &[u8]) -> LogRead {
        read_log(bytes, &Source::Log("x".into())).unwrap()
    }

    #[test]
    fn real_lines_of_every_kind() {
        let read = read(SAMPLE.as_bytes());
        let all: Vec<_> = read
            .kept
            .denials
            .iter()
            .map(|d| format!("{} {} {} {:?}", d.process.comm, d.call.arch, d.call, d.effect))
            .collect();
        let expected = [
            "victim x86-64 set_robust_list Recorded",
            "victim x86-64 rseq Recorded",
            "victim x86-64 setrlimit Killed",
            "victim x86 uname Killed",
            "(victim) x86-64 execve Killed",
            "x\" syscall=165 x86-64 chown Killed",
            "sp ace x86-64 chown Killed",
            "b\\xffd x86-64 chown Killed",
        ];
        assert_eq!(all, expected);
        assert_eq!((read.malformed_total, read.foreign), (0, 0));
    }

    #[test]
    fn garbage_long_lines_and_a_cut_end() {
        let mut bytes = b"\xff\x00\xfe nonsense\n".to_vec();
        bytes.extend(line(1).bytes());
        bytes.extend(line(2).replace("sig=31", "sig=x").bytes());
        bytes.extend(vec![b'x'; 3 * LINE_MAX]);
        bytes.push(b'\n');
        bytes.extend(line(3).trim_end().bytes());
        let read = read(&bytes);
        assert_eq!(read.kept.denials.iter().map(|d| d.process.pid).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((read.lines, read.too_long, read.malformed_total), (5, 1, 1));
        assert_eq!(read.malformed, [(3, "byte 86: sig is not a number that the kernel writes".to_owned())]);
    }

    #[test]
    fn a_flood_is_counted() {
        let mut bytes = line(1).repeat(DENIALS_MAX + 5).into_bytes();
        bytes.extend(line(1).replace("\"a\"", "\"b\"").bytes());
        let read = read(&bytes);
        assert_eq!(read.kept.denials.len(), DENIALS_MAX + 2);
        assert_eq!(read.kept.more.values().copied().collect::<Vec<_>>(), [4, 0]);
        assert_eq!(read.kept.total(), 4_006);
    }

    #[test]
    fn names_of_any_length_take_bounded_memory() {
        let mut kept = Kept::default();
        for number in 0..4000_u32 {
            let exe = format!("/{number:04095}");
            let record = record::parse(line(number).replace("\"/a\"", &format!("\"{exe}\"")).as_bytes());
            let denial = record.unwrap().unwrap().denial(Source::AuditSocket).unwrap();
            kept.push(denial);
        }
        assert_eq!(kept.total(), 4000);
        let bytes = |denials: &[Denial]| denials.iter().map(weight).sum::<usize>();
        assert!(bytes(&kept.denials) <= BYTES_MAX + KINDS_BYTES_MAX, "{}", bytes(&kept.denials));
        assert!(kept.denials.len() > 1000 && kept.uncounted > 1000);
    }

    #[test]
    fn rotated_files_come_first_and_other_files_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("var/log/audit");
        assert_eq!(audit_log(&Root::new(dir.path())).unwrap(), None);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, pid) in [("audit.log", 3), ("audit.log.1", 2), ("audit.log.10", 1), ("audit.log.gz", 9)] {
            std::fs::write(folder.join(name), line(pid)).unwrap();
        }
        let read = audit_log(&Root::new(dir.path())).unwrap().unwrap();
        assert_eq!(read.kept.denials.iter().map(|d| d.process.pid).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn what_others_can_write_is_not_believed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let check = |mode, owner| {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
            trust(&file.as_file().metadata().unwrap(), owner, file.path()).is_ok()
        };
        let me = file.as_file().metadata().unwrap().uid();
        assert!(check(0o600, Some(me)));
        assert!(check(0o644, Some(me)));
        assert!(!check(0o660, Some(me)));
        assert!(!check(0o600, Some(me + 1)));
        assert!(check(0o666, None));
    }
}
