//! The kernels, from source to functions on a device.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, result, sys};
use cudarc::nvrtc::result as nvrtc;
use cudarc::nvrtc::sys as nvrtc_sys;

use super::cache::Entry;
use super::driver_message::driver_message;

/// All kernels, as one text: they share their helpers, and one compilation is faster than many.
const SOURCE: &str = concat!(
    include_str!("kernels/ptx.cuh"),
    include_str!("kernels/wgmma.cuh"),
    include_str!("kernels/element.cuh"),
    include_str!("kernels/fp8_code.cuh"),
    include_str!("kernels/reduce.cuh"),
    include_str!("kernels/packed.cuh"),
    include_str!("kernels/fp8_row.cuh"),
    include_str!("kernels/fp8_decode.cu"),
    include_str!("kernels/fp8_gemv.cu"),
    include_str!("kernels/layer_norm.cu"),
    include_str!("kernels/rms_norm.cu"),
    include_str!("kernels/rms_norm_rotate.cu"),
    include_str!("kernels/rotate_quantize.cu"),
    include_str!("kernels/activation.cu"),
    include_str!("kernels/fp8_quantize.cu"),
    include_str!("kernels/gated_add.cu"),
    include_str!("kernels/channel_norm.cu"),
    include_str!("kernels/channel_bias.cu"),
    include_str!("kernels/im2col.cu"),
    include_str!("kernels/softmax_rows.cu"),
    include_str!("kernels/cast.cu"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/attention_f32.cu"),
    include_str!("kernels/attention_sm90.cu"),
    include_str!("kernels/fp8_quantize_values.cu"),
    include_str!("kernels/attention_quantized_weights.cuh"),
    include_str!("kernels/attention_quantized_sm90.cu"),
);

/// The reasons why there are no kernels.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    /// The driver refuses the compiled code.
    #[error("the driver answers: {0}")]
    Driver(String),
    /// NVRTC refuses the source.
    #[error("NVRTC answers: {0}")]
    Compiler(String),
}

impl From<DriverError> for CompileError {
    fn from(error: DriverError) -> Self {
        Self::Driver(driver_message(error))
    }
}

impl From<nvrtc::NvrtcError> for CompileError {
    fn from(error: nvrtc::NvrtcError) -> Self {
        Self::Compiler(format!("{error:?}"))
    }
}

/// The architecture that the source is compiled for.
struct Target {
    /// For example `sm_90a`, or `compute_90` for a device that is newer than the compiler.
    name: String,
    /// If true, the result is the device's own code; else PTX, which the driver compiles.
    native: bool,
}

/// Compiles all kernels for the context's device, or reads them from the cache.
///
/// # Errors
/// The message of the compiler or of the driver.
pub(super) fn module(context: &Arc<CudaContext>) -> Result<sys::CUmodule, CompileError> {
    let target = Target::of(context)?;
    let entry = Entry::of(SOURCE, &target.name, compiler_version()?);
    context.bind_to_thread()?;
    // A cached file may be damaged: then the driver refuses it, and it is compiled anew.
    if let Some(module) = entry.read().and_then(|code| load(&code).ok()) {
        return Ok(module);
    }
    let code = compile(&target)?;
    let module = load(&code)?;
    entry.write(&code);
    Ok(module)
}

fn load(code: &[u8]) -> Result<sys::CUmodule, DriverError> {
    // The driver reads a text up to its end mark.
    let mut code = code.to_vec();
    code.push(0);
    // SAFETY: the driver reads a cubin by the sizes in its header and a PTX text up to its end
    // mark, which was just pushed; it refuses what is neither.
    unsafe { result::module::load_data(code.as_ptr().cast()) }
}

impl Target {
    fn of(context: &CudaContext) -> Result<Self, CompileError> {
        let (major, minor) = context.compute_capability()?;
        let device = major * 10 + minor;
        let newest = supported()?.into_iter().max().unwrap_or(device);
        if newest < device {
            return Ok(Self {
                name: format!("compute_{newest}"),
                native: false,
            });
        }
        // From Hopper on, a chip's own instructions are in a target of its own.
        let suffix = if device >= 90 { "a" } else { "" };
        Ok(Self {
            name: format!("sm_{device}{suffix}"),
            native: true,
        })
    }
}

/// Asks the compiler for the architectures that it knows.
fn supported() -> Result<Vec<i32>, CompileError> {
    let mut count = 0;
    // SAFETY: the compiler writes one number, for which there is a place.
    unsafe { nvrtc_sys::nvrtcGetNumSupportedArchs(&mut count) }.result()?;
    let mut list = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the list has as many places as the compiler has just said.
    unsafe { nvrtc_sys::nvrtcGetSupportedArchs(list.as_mut_ptr()) }.result()?;
    Ok(list)
}

fn compiler_version() -> Result<(i32, i32), CompileError> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the compiler writes two numbers, for which there are places.
    unsafe { nvrtc_sys::nvrtcVersion(&mut major, &mut minor) }.result()?;
    Ok((major, minor))
}

fn compile(target: &Target) -> Result<Vec<u8>, CompileError> {
    let source = CString::new(SOURCE).unwrap_or_default();
    let program = nvrtc::create_program(&source, None)?;
    // The source includes nothing, so that no folder of headers is named.
    let options = [
        format!("--gpu-architecture={}", target.name),
        "--std=c++17".into(),
        "-default-device".into(),
    ];
    // SAFETY: the program was just created.
    let compiled = unsafe { nvrtc::compile_program(program, &options) };
    let code = compiled.map_err(|_| CompileError::Compiler(log(program)));
    // SAFETY: the program is compiled.
    let code = code.and_then(|()| unsafe { output(program, target.native) });
    // SAFETY: nothing uses the program any more.
    let _ = unsafe { nvrtc::destroy_program(program) };
    code
}

/// The first lines of the compiler's log.
fn log(program: nvrtc_sys::nvrtcProgram) -> String {
    const LINES: usize = 8;
    // SAFETY: the program exists; the text ends with a zero.
    let text = unsafe {
        nvrtc::get_program_log(program)
            .map(|log| CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned())
    };
    let text = text.unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    lines[..lines.len().min(LINES)].join("; ")
}

/// # Safety
/// The program must be compiled, for a device's own target if `native`.
unsafe fn output(program: nvrtc_sys::nvrtcProgram, native: bool) -> Result<Vec<u8>, CompileError> {
    if !native {
        // SAFETY: by this function's contract.
        let ptx = unsafe { nvrtc::get_ptx(program) }?;
        return Ok(ptx.into_iter().map(|c| c.cast_unsigned()).collect());
    }
    let mut size = 0;
    // SAFETY: by this function's contract.
    unsafe { nvrtc_sys::nvrtcGetCUBINSize(program, &mut size) }.result()?;
    let mut code = vec![0u8; size];
    // SAFETY: the buffer has the size that was just asked for.
    unsafe { nvrtc_sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()) }.result()?;
    Ok(code)
}
