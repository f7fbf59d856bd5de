//! Running the program.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// What a run of the program left behind.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graygate"));
    command
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    command
}

/// Runs the program in the project's folder.
pub(crate) fn graygate(args: &[&str]) -> Done {
    done(command(args).output().expect("the program starts"))
}

/// Starts the program, waits for its first line on stderr, which must hold this, and interrupts it.
pub(crate) fn interrupted(args: &[&str], line_with: &str) -> Done {
    disturbed(args, line_with, interrupt)
}

/// Starts the program, waits for its first line on stderr, which must hold this, and does something to it.
pub(crate) fn disturbed(args: &[&str], line_with: &str, disturb: impl Fn(&Child)) -> Done {
    let mut child = command(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Progress on stderr: it is under way.
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    assert!(line.contains(line_with), "{line}");
    disturb(&child);
    let mut err = String::new();
    stderr.read_to_string(&mut err).expect("UTF-8");
    let done = done(child.wait_with_output().expect("its end"));
    Done { err, ..done }
}

pub(crate) fn done(output: Output) -> Done {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Done {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    signal(child, Signal::INT);
}

/// Gets no processor for a second, as on a machine that is overloaded or asleep.
pub(crate) fn stall(child: &Child) {
    signal(child, Signal::STOP);
    let slept = Command::new("sleep").arg("1").status();
    signal(child, Signal::CONT);
    assert!(slept.expect("sleep").success());
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

/// A folder for one test, with scenario files in it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn text(&self) -> String {
        self.path().display().to_string()
    }

    /// The names of all that is in it.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.path()).expect("a folder");
        let name = |file: std::fs::DirEntry| file.file_name().display().to_string();
        let mut files: Vec<_> = files.map(|file| name(file.expect("a file"))).collect();
        files.sort();
        files
    }

    /// Writes a file; `FIXTURES` in it becomes the project's folder of fixtures.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let text = text.replace("FIXTURES", &fixtures.display().to_string());
        let path: PathBuf = self.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// What was said, without the folder's own name, for snapshots.
    pub(crate) fn anonymous(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.text()), "")
            .replace(&format!("{}/", env!("CARGO_MANIFEST_DIR")), "")
    }
}

/// A short scenario with these gates.
pub(crate) fn scenario(expect: &str) -> String {
    format!(
        "name: short
seed: 3
duration: 1s
router: FIXTURES/routers/gray-30-fast.yaml
upstreams:
  v1: {{mock: {{latency: 5ms}}}}
  v2: {{mock: {{latency: 5ms}}}}
traffic:
  synthetic: {{arrivals: {{constant: 100/s}}}}
expect:
{expect}
"
    )
}

pub(crate) const PASSES: &str = "  - requests: {success: \"100%\"}";
pub(crate) const FAILS: &str = "  - requests: {success: \"100%\", count: \"<= 3\"}";
pub(crate) const INCONCLUSIVE: &str = "  - split: {v2: 30%, tolerance: 1pp}";
