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
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A free port for the admin API as well, unless the test has its own wishes.
        let is_gateway = args.first() == Some(&"serve") && !args.contains(&"--admin");
        let admin: &[&str] = match is_gateway {
            true => &["--admin", "127.0.0.1:0"],
            false => &[],
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_graygate"))
            .args(args)
            .args(admin)
            .args(["--listen", "127.0.0.1:0"])
            .env_remove("NO_COLOR")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
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
            let lines = lines.lock().unwrap();
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

    /// `http://127.0.0.1:PORT` of its admin API, which it says before it says where it serves.
    pub(crate) fn admin(&self) -> String {
        let log = self.log();
        let line = log.lines().find(|l| l.contains("admin API on http://"));
        let line = line.expect("it has an admin API");
        let at = line.find("http://").expect("an address");
        let address = line[at..].split_whitespace().next();
        address.expect("an address").to_owned()
    }

    /// How many files and sockets it has open.
    #[cfg(target_os = "linux")]
    pub(crate) fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("its files").count()
    }

    /// Asks it to stop, as Ctrl-C does, and waits until it has; returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.is_ok_and(|s| s.success()), "the signal is sent");
        let status = self.child.wait().expect("it ends");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its last words");
        }
        status.code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
