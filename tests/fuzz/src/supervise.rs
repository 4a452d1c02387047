//! The parent: starts a worker with limits, watches its time, and starts it again behind an input that ended it.

use crate::Target;
use crate::shrink::minimise;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How to run a target.
#[derive(Debug, Clone)]
pub struct Options {
    pub seeds: Range<u64>,
    /// Wall time after which no further seed starts.
    pub time: Duration,
    /// Where inputs that are wrong go, minimised; `None`: they are only told.
    pub save: Option<PathBuf>,
    /// This program, or one that takes the same arguments.
    pub program: PathBuf,
}

/// One way to be wrong.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The first seed.
    pub seed: u64,
    pub what: String,
    pub times: u64,
}

/// What a run found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub accepted: u64,
    pub refused: u64,
    pub cpu: Duration,
    /// The seed that would come next.
    pub next: u64,
    /// By what they have in common.
    pub findings: BTreeMap<String, Finding>,
}

impl Report {
    pub fn inputs(&self) -> u64 {
        self.accepted + self.refused + self.findings.values().map(|f| f.times).sum::<u64>()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (inputs, cpu) = (self.inputs(), self.cpu.as_secs_f64());
        write!(f, "{inputs} inputs ({} accepted, {} refused), {cpu:.1} s of CPU", self.accepted, self.refused)?;
        write!(f, ", {} kinds of crashes", self.findings.len())?;
        for (key, finding) in &self.findings {
            write!(f, "\n  {key}: {} times, first seed {}: {}", finding.times, finding.seed, finding.what.replace("\\n", "\n    "))?;
        }
        Ok(())
    }
}

/// Runs a target over seeds.
pub fn run(target: &'static Target, options: &Options) -> Report {
    let start = Instant::now();
    let mut report = Report { next: options.seeds.start, ..Report::default() };
    let mut told = start;
    while report.next < options.seeds.end && start.elapsed() < options.time {
        let mut worker = Worker::start(target, &options.program, report.next..options.seeds.end);
        let end = start + options.time;
        while let Some((seed, answer)) = worker.next(target, end) {
            report.next = seed + 1;
            if options.save.is_some() && told.elapsed() > Duration::from_secs(60) {
                told = Instant::now();
                let cpu = (report.cpu + worker.cpu).as_secs_f64();
                eprintln!("{}: {} inputs, {cpu:.0} s of CPU, {} kinds of crashes", target.name, report.inputs(), report.findings.len());
            }
            match answer.as_str() {
                "accepted" => report.accepted += 1,
                "refused" => report.refused += 1,
                wrong => found(target, options, &mut report, seed, wrong.trim_start_matches("wrong ")),
            }
        }
        report.cpu += worker.stop();
    }
    report
}

fn found(target: &'static Target, options: &Options, report: &mut Report, seed: u64, what: &str) {
    let key = key(what);
    if let Some(known) = report.findings.get_mut(&key) {
        known.times += 1;
        return;
    }
    eprintln!("{} seed {seed}: {what}", target.name);
    if let Some(folder) = &options.save {
        let input = (target.make)(seed);
        let small = minimise(target, &options.program, input, &key, Duration::from_secs(120));
        let slug: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let file = folder.join(target.name).join(format!("{slug}-{seed}.{}", target.extension));
        let saved = std::fs::create_dir_all(file.parent().unwrap_or(folder)).and_then(|()| std::fs::write(&file, &small));
        eprintln!("  {} bytes: {}{}", small.len(), file.display(), saved.err().map_or(String::new(), |e| format!(": {e}")));
    }
    report.findings.insert(key, Finding { seed, what: what.into(), times: 1 });
}

/// What failures of the same cause have in common: the place of the panic, or the first words.
pub(crate) fn key(what: &str) -> String {
    match what.strip_prefix("panic at ") {
        Some(rest) => rest.split(": ").next().unwrap_or(rest).to_string(),
        None => what.split([':', '\\']).next().unwrap_or(what).chars().take(60).collect(),
    }
}

/// A child process and what it says.
struct Worker {
    child: Child,
    lines: Receiver<String>,
    cpu: Duration,
    /// At the start of the input at hand.
    began: (Duration, Instant),
    seed: Option<u64>,
}

impl Worker {
    fn start(target: &Target, program: &Path, seeds: Range<u64>) -> Worker {
        let arguments = [target.name.to_string(), "--worker".into(), format!("{}..{}", seeds.start, seeds.end)];
        let mut child = limited(target, program, &arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Worker { child, lines, cpu: Duration::ZERO, began: (Duration::ZERO, Instant::now()), seed: None }
    }

    /// The next seed and what became of it; `None` when the worker is done, or has to start again.
    fn next(&mut self, target: &Target, end: Instant) -> Option<(u64, String)> {
        loop {
            match self.lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => match line.split_at_checked(2) {
                    Some(("> ", seed)) => {
                        if Instant::now() > end {
                            return None;
                        }
                        self.seed = seed.parse().ok();
                        self.began = (self.sample(), Instant::now());
                    }
                    Some(("< ", rest)) => {
                        let (seed, answer) = rest.split_once(' ').unwrap_or((rest, ""));
                        self.seed = None;
                        return Some((seed.parse().ok()?, answer.into()));
                    }
                    _ => {}
                },
                Err(RecvTimeoutError::Timeout) => {
                    let (cpu, begin) = self.began;
                    let spent = self.sample().saturating_sub(cpu).as_secs();
                    if self.seed.is_some() && (spent > target.seconds || begin.elapsed().as_secs() > 30 + 5 * target.seconds) {
                        let _ = self.child.kill();
                        return Some((self.seed.take()?, format!("wrong hang: more than {} s", target.seconds)));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                    return Some((self.seed.take()?, format!("wrong abort ({status}): out of memory or of stack")));
                }
            }
        }
    }

    /// CPU time so far, where the system says it; else wall time.
    fn sample(&mut self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // Behind the name, which may hold anything: user and system time are fields 14 and 15, in hundredths of a second.
        let fields: Vec<&str> = text.rsplit_once(')').map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
        let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok());
        if let (Some(user), Some(system)) = (ticks(11), ticks(12)) {
            self.cpu = self.cpu.max(Duration::from_millis(10 * (user + system)));
        }
        self.cpu
    }

    /// Ends it: its CPU time.
    fn stop(mut self) -> Duration {
        let cpu = self.sample();
        let _ = self.child.kill();
        let _ = self.child.wait();
        cpu
    }
}

/// The program with the target's limit of memory: of what it may write to, reserved addresses do not count.
pub(crate) fn limited(target: &Target, program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -c 0; ulimit -d {}; exec \"$@\"", target.megabytes << 10);
    command.arg("-c").arg(script).arg("sh").arg(program).args(arguments).stdin(Stdio::null());
    command
}
