//! The items of one long stream: what each costs at the beginning, and at the end.

use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::clients::s3flow_scope;
use crate::content::key;
use crate::process::{Role, ask, print};
use crate::server::{Objects, Target};
use crate::usage::{Cpu, memory};

/// Objects of the server; the items are these over and over.
const OBJECTS: u64 = 1_000;
const SIZE: u64 = 1024;
/// Items of a window.
const WINDOW: u64 = 10_000;
/// Windows of the beginning, after the first, and of the end.
const COMPARED: usize = 25;
const MOST_CPU: f64 = 1.15;
const MOST_MEMORY: f64 = 1.10;

#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    target: Target,
    items: u64,
    get: bool,
}

/// One window.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Window {
    /// CPU seconds.
    cpu: f64,
    /// Bytes in memory at its end.
    rss: u64,
}

pub(crate) async fn stream(job: Job) -> Result<()> {
    print(&tokio::spawn(measure(job)).await??)
}

async fn measure(Job { target, items, get }: Job) -> Result<Vec<Window>> {
    let s3 = s3flow_scope(&target)?;
    let keys = futures::stream::iter(0..items).map(|item| key(item % OBJECTS));
    let mut objects = if get { s3.get_from(keys).boxed() } else { s3.info_from(keys).boxed() };
    let mut windows = Vec::new();
    let mut so_far = Cpu::so_far()?;
    let mut count = 0;
    while let Some(object) = objects.try_next().await? {
        if object.size() != Some(SIZE) {
            return Err(format!("{} has {:?} bytes", object.key(), object.size()).into());
        }
        count += 1;
        if count % WINDOW == 0 {
            let now = Cpu::so_far()?;
            windows.push(Window { cpu: (now - so_far).total(), rss: memory("VmRSS")? });
            so_far = now;
        }
    }
    match count == items {
        true => Ok(windows),
        false => Err(format!("{count} items of {items}").into()),
    }
}

/// Other programs make a window dearer and never cheaper, so the cheapest of some windows are compared: what grows with the
/// items shows in that too.
pub(crate) fn many_items(items: u64, get: bool) -> Result<()> {
    if !items.is_multiple_of(WINDOW) || items / WINDOW <= 2 * COMPARED as u64 {
        return Err(format!(
            "the items must be a multiple of {WINDOW}, and more than {}",
            2 * COMPARED as u64 * WINDOW
        )
        .into());
    }
    let (target, _server) = ask::<Target>(Role::Server, &Objects { objects: OBJECTS, size: SIZE })?;
    let (windows, _) = ask::<Vec<Window>>(Role::ManyItems, &Job { target, items, get })?;
    let what = if get { "get_from, each object dropped as it comes" } else { "info_from" };
    println!("{items} items of one {what}; windows of {WINDOW}\n");
    println!("| items | CPU for one, µs | RSS at the end, MiB |\n|---|---|---|");
    let step = windows.len() / 10;
    for (number, window) in windows.iter().enumerate() {
        if number % step == 0 || number == windows.len() - 1 {
            let first = number as u64 * WINDOW;
            let rss = window.rss as f64 / f64::from(1 << 20);
            println!("| {} to {} | {:.1} | {rss:.1} |", first + 1, first + WINDOW, window.microseconds());
        }
    }
    let (begun, ended) = (&windows[1..=COMPARED], &windows[windows.len() - COMPARED..]);
    let least = |windows: &[Window]| windows.iter().map(Window::microseconds).fold(f64::INFINITY, f64::min);
    let most = |windows: &[Window]| windows.iter().map(|window| window.rss as f64).fold(0.0, f64::max);
    let (cpu, memory) = (least(ended) / least(begun), most(ended) / most(begun));
    println!(
        "\nthe last {COMPARED} windows by the {COMPARED} after the first: least CPU {cpu:.3}, most RSS {memory:.3}"
    );
    match (cpu > MOST_CPU, memory > MOST_MEMORY) {
        (true, _) => Err(format!("the CPU for an item has grown by more than {MOST_CPU}").into()),
        (_, true) => Err(format!("the memory has grown by more than {MOST_MEMORY}").into()),
        _ => Ok(()),
    }
}

impl Window {
    /// CPU for one item.
    fn microseconds(&self) -> f64 {
        1e6 * self.cpu / WINDOW as f64
    }
}
