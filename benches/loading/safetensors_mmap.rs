//! Maps a file with the `safetensors` crate and reads one byte of each page of every tensor, which
//! is the least that any use of the weights asks for. Prints the time as JSON.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::time::Instant;

use memmap2::Mmap;
use safetensors::SafeTensors;

const PAGE: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: FILE")?;
    let start = Instant::now();
    // SAFETY: nothing writes to the file of a measurement.
    let mapping = unsafe { Mmap::map(&File::open(path)?) }?;
    let tensors = SafeTensors::deserialize(&mapping)?;
    let (mut sum, mut bytes) = (0_u64, 0);
    for (_, tensor) in tensors.iter() {
        let data = tensor.data();
        bytes += data.len();
        sum = data
            .iter()
            .step_by(PAGE)
            .fold(sum, |sum, byte| sum + u64::from(*byte));
    }
    black_box(sum);
    let seconds = start.elapsed().as_secs_f64();
    println!("{{\"seconds\": {seconds}, \"bytes\": {bytes}}}");
    Ok(())
}
