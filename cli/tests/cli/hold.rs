//! Holds the program at a known point of its work: no test hopes that the program is still, or
//! already, at something.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::support::{interrupt, interruptible};

/// A program that is held, until it is let go.
pub(crate) struct Held {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
    /// The program waits until this is closed.
    pipe: File,
}

/// How a program that was held has ended.
pub(crate) struct Ended {
    /// Exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// The standard output.
    pub(crate) stdout: String,
    /// The standard error.
    pub(crate) stderr: String,
}

impl Held {
    /// Starts the program and returns when it reaches `point` (`step`, `denoised`, `read`, `write`) for the
    /// `time`-th time, counted from 1. It listens to Ctrl-C.
    #[track_caller]
    pub(crate) fn at(point: &str, time: u32, command: &Command) -> Self {
        Self::at_as_started(point, time, interruptible(command))
    }

    /// The same of a command that may ignore signals.
    #[track_caller]
    pub(crate) fn at_as_started(point: &str, time: u32, mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hold");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        command.env(
            "QWEN_IMAGE_HOLD",
            format!("{point},{time},{}", path.display()),
        );
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pipe = opened(&path, &mut child);
        Self {
            stderr: BufReader::new(child.stderr.take().unwrap()),
            said: String::new(),
            child,
            pipe,
        }
    }

    /// Sends a signal, such as `TERM`, and returns at once.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(id)
            .status();
        assert!(sent.unwrap().success());
    }

    /// Sends a signal, and returns when the program has said that it stops.
    #[track_caller]
    pub(crate) fn stop(&mut self, name: &str) {
        self.signal(name);
        self.read_until("stopping");
    }

    /// Presses Ctrl-C, and returns when the program has said that it stops.
    #[track_caller]
    pub(crate) fn interrupt(&mut self) {
        interrupt(&self.child);
        self.read_until("stopping");
    }

    /// Presses Ctrl-C again, which ends the program where it is held.
    #[track_caller]
    pub(crate) fn interrupt_again(self) -> Ended {
        interrupt(&self.child);
        self.end()
    }

    /// Kills the program where it is held.
    #[track_caller]
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.end()
    }

    /// Lets the program go on to its end.
    #[track_caller]
    pub(crate) fn release(self) -> Ended {
        let Self {
            child,
            stderr,
            said,
            pipe,
        } = self;
        drop(pipe);
        ended(child, stderr, said)
    }

    /// Waits for the end of a program that ends although it is held.
    #[track_caller]
    fn end(self) -> Ended {
        let ended = ended(self.child, self.stderr, self.said);
        drop(self.pipe);
        ended
    }

    #[track_caller]
    fn read_until(&mut self, awaited: &str) {
        while !self.said.contains(awaited) {
            let read = self.stderr.read_line(&mut self.said).unwrap();
            assert!(read > 0, "ended early: {}", self.said);
        }
    }
}

fn ended(mut child: Child, mut stderr: BufReader<ChildStderr>, mut said: String) -> Ended {
    // Far less than a pipe holds is printed, so that one after the other does.
    stderr.read_to_string(&mut said).unwrap();
    let mut stdout = String::new();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_to_string(&mut stdout).unwrap();
    Ended {
        code: child.wait().unwrap().code(),
        stdout,
        stderr: said,
    }
}

/// The writing end of a named pipe, once the program has opened the other.
#[track_caller]
fn opened(path: &Path, child: &mut Child) -> File {
    loop {
        let mut options = OpenOptions::new();
        match options
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
        {
            Ok(pipe) => return pipe,
            // Nobody reads yet.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
        }
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            let stderr = child.stderr.take();
            stderr.unwrap().read_to_string(&mut said).unwrap();
            panic!("ended before the point, {status}: {said}");
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
