//! What a durable commit cannot be quicker than: one write to the end of a file, flushed.

use crate::{Fault, figure};
use std::{fs::File, io::Write as _, path::Path, time::Instant};

const WRITES: usize = 200;
/// Under this a machine counts as quick enough for the absolute figures.
const QUICK_MS: f64 = 0.5;
/// Under this nothing is flushed at all.
const NOTHING_MS: f64 = 0.01;

/// ms, the median of some hundred.
pub fn median(folder: &Path) -> Result<f64, Fault> {
    let path = folder.join("flush");
    let mut file = File::create(&path)?;
    let block = [7_u8; 4096];
    let mut took = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(path)?;
    Ok(figure::median(took))
}

/// What that means for the figures.
pub fn remark(ms: f64) -> &'static str {
    if ms < NOTHING_MS {
        ": this file system is in memory, and runs-ratio says nothing here (choose another with --folder)"
    } else if ms > QUICK_MS {
        ": the absolute bars are for a machine with under 0.5 ms; the ratios count"
    } else {
        ""
    }
}
