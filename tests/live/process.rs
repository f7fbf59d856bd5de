//! `graygate serve` and `graygate mock` as processes of their own.
#![allow(
    clippy::disallowed_types,
    reason = "a test must give up at some time of the real clock"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A server process. It is stopped when dropped.
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT/v1`
    pub(crate) base: String,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts `graygate` with these arguments on a free port, and waits until it says where.
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_in(Path::new("."), args, env)
    }

    /// The same in this working directory.
    pub(crate) fn start_in(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = command(args, env)
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .expect("graygate starts");
        let stderr = child.stderr.take().expect("stderr");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let base = wait_for(|| {
            let ended = child.try_wait().expect("its state");
            let lines = lines.lock().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}: {}", lines.join("\n"));
            let line = lines.iter().find(|l| l.contains("serving http://"))?;
            // A pipe is no terminal: no colours, though nobody asked for none.
            assert!(!line.contains('\u{1b}'), "{line:?}");
            let at = line.find("http://")?;
            Some(line[at..].split_whitespace().next()?.to_owned())
        });
        Self {
            child,
            base,
            lines,
            reader: Some(reader),
        }
    }

    /// Everything it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// `http://127.0.0.1:PORT` of its admin API, which it says after it says where it serves.
    pub(crate) fn admin(&self) -> String {
        wait_for(|| {
            let log = self.log();
            let line = log.lines().find(|l| l.contains("admin API on http://"))?;
            let at = line.find("http://")?;
            Some(line[at..].split_whitespace().next()?.to_owned())
        })
    }

    /// How many files and sockets it has open.
    #[cfg(target_os = "linux")]
    pub(crate) fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("its files").count()
    }

    /// Its address, without scheme and path.
    pub(crate) fn address(&self) -> &str {
        let address = self.base.trim_start_matches("http://");
        address.trim_end_matches("/v1")
    }

    /// Sends it a signal: `INT`, `TERM` …
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.is_ok_and(|s| s.success()), "it is sent");
    }

    /// Waits until it ends; returns its exit code and everything it wrote to stderr.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let status = wait_for(|| self.child.try_wait().expect("its state"));
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its last words");
        }
        (status.code(), self.log())
    }

    /// Asks it to stop, as Ctrl-C does, and waits until it has; returns its exit code.
    pub(crate) fn stop(self) -> Option<i32> {
        self.signal("INT");
        self.wait().0
    }
}

/// `graygate` with these arguments, on a free port where it is a server.
fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    // Only who says where leaves a state behind. The admin API has a free port as well, unless the
    // test has its own wishes.
    let is_gateway = args.first() == Some(&"serve");
    let unless_told = |name: &'static str, value| {
        let is_told = !is_gateway || args.contains(&name);
        (!is_told).then_some([name, value])
    };
    let state = unless_told("--state", "none");
    let admin = unless_told("--admin", "127.0.0.1:0");
    let listen = (!args.contains(&"--listen")).then_some(["--listen", "127.0.0.1:0"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_graygate"));
    command
        .args(args)
        .args([listen, state, admin].into_iter().flatten().flatten())
        .env_remove("NO_COLOR")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Starts a server that is expected to refuse; returns its exit code and what it says.
pub(crate) fn refused(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = command(args, env).output().expect("graygate starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.code(), said)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP client.
pub(crate) fn client() -> reqwest::Client {
    // Once a process; the second one finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Waits until something is there. Half a minute is for machines in trouble.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Keys for [`router_file`].
pub(crate) const KEYS: [(&str, &str); 2] = [
    ("STABLE_API_KEY", "sk-stable-0123456789abcdef0123456789"),
    ("CANARY_API_KEY", "sk-canary-0123456789abcdef0123456789"),
];

/// Writes a router file for two upstreams.
pub(crate) fn router_file(folder: &Path, stable: &str, canary: &str, more: &str) -> String {
    let path = folder.join("router.yaml");
    let text = format!(
        "versions:
  v1: {{role: stable, model: gpt-4.1, endpoint: \"{stable}\", api_key_env: STABLE_API_KEY}}
  v2: {{role: canary, model: gpt-4.1-new, endpoint: \"{canary}\", api_key_env: CANARY_API_KEY}}
routes:
  - {{when: {{tier: premium}}, to: v2}}
split: {{weights: {{v1: 100, v2: 0}}}}
{more}
"
    );
    std::fs::write(&path, text).expect("a router file");
    path.display().to_string()
}
