//! How each kernel is launched: a table that the checks in `benches/cuda` read too.

const TABLE: &str = include_str!("kernels/launches.txt");

/// How a kernel is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The kernel.
    pub(crate) name: &'static str,
    /// A letter for each argument: `p`ointer, `i`nt, `l`ong long or `f`loat.
    pub(crate) arguments: &'static str,
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub(crate) shared: u32,
}

/// All kernels.
pub(crate) fn launches() -> impl Iterator<Item = Launch> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut columns = line.split_whitespace();
        Some(Launch {
            name: columns.next()?,
            arguments: columns.next()?,
            threads: columns.next()?.parse().ok()?,
            shared: columns.next()?.parse().ok()?,
        })
    })
}
