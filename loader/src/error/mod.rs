//! Everything that can go wrong between a path and a filled module.

mod causes;
mod describe;

use std::io;
use std::path::PathBuf;

use describe::{LISTED, describe_lightning, describe_loras, describe_unknown};

use crate::checkpoint::IndexError;
use crate::component::Component;
use crate::container::safetensors::HeaderError;
use crate::dialect::DialectError;
use crate::element::ElementType;
use crate::lora::LoraError;
use crate::record::Misfit;
use crate::report::Size;
use crate::resemblance::Resemblance;
use crate::text::{Excerpt, listed, shown};

/// Why a checkpoint cannot be loaded. Each message is one line that names the file and says what
/// to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Nothing is there.
    #[error("{}: no such file or folder", shown(path))]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// A folder where a file is needed.
    #[error("{}: is a folder, a file is needed", shown(path))]
    IsDirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// A file where a folder is needed.
    #[error("{}: is not a folder", shown(path))]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// A device, pipe or socket.
    #[error(
        "{}: is a device, a pipe or a socket: name a file or a folder",
        shown(path)
    )]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{}: cannot be read: {error}", shown(path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's message.
        error: io::Error,
    },
    /// The file changed between the reading of its header and of its tensors.
    #[error(
        "{}: changed while it was read: try again once its download has ended",
        shown(file)
    )]
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// The file was written to while its mapping was used as weights.
    #[error(
        "{}: was written to while it was in use, so what was computed with it is not kept: run \
         again once it is complete",
        shown(file)
    )]
    ChangedInUse {
        /// The file.
        file: PathBuf,
    },
    /// Not a complete safetensors file.
    #[error("{}: {fault}", shown(file))]
    Header {
        /// The file.
        file: PathBuf,
        /// The fault.
        fault: HeaderError,
    },
    /// A bad `*.safetensors.index.json`.
    #[error("{}: {fault}", shown(file))]
    Index {
        /// The index.
        file: PathBuf,
        /// The fault.
        fault: IndexError,
    },
    /// A config.json, or a config in a file's metadata, that cannot be read.
    #[error("{}: the {what} is not usable: {message}", shown(file))]
    BadConfig {
        /// The file.
        file: PathBuf,
        /// Which text in it.
        what: &'static str,
        /// The fault.
        message: Excerpt,
    },
    /// A folder without a checkpoint.
    #[error(
        "{}: no .safetensors file and no index.json in this folder",
        shown(dir)
    )]
    EmptyFolder {
        /// The folder.
        dir: PathBuf,
    },
    /// A whole diffusers model where one of its parts is needed.
    #[error("{}: is a whole diffusers model", shown(dir))]
    WholeModel {
        /// The folder.
        dir: PathBuf,
    },
    /// A folder with more than one checkpoint.
    #[error(
        "{}: holds several checkpoints ({}): name one of them",
        shown(dir),
        listed(files, LISTED)
    )]
    AmbiguousFolder {
        /// The folder.
        dir: PathBuf,
        /// The file names.
        files: Vec<Excerpt>,
    },
    /// Shards whose index is not there.
    #[error(
        "{}: holds shards (..-of-..) but not their .safetensors.index.json: download it too",
        shown(dir)
    )]
    ShardsWithoutIndex {
        /// The folder.
        dir: PathBuf,
    },
    /// One of several shards in the place of all of them.
    #[error(
        "{}: is shard {number} of {of}: name its folder or its .safetensors.index.json",
        shown(file)
    )]
    ShardAlone {
        /// The shard.
        file: PathBuf,
        /// Which it is, counted from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// A folder of models without a known structure.
    #[error(
        "{}: neither a ComfyUI models folder (diffusion_models, text_encoders, vae, checkpoints) nor \
         a diffusers folder (model_index.json)",
        shown(dir)
    )]
    NotAModelsFolder {
        /// The folder.
        dir: PathBuf,
    },
    /// A folder of models holds several candidates for one component.
    #[error(
        "{}: {} files are {component}s ({})",
        shown(dir), files.len(), listed(files, LISTED)
    )]
    SeveralCandidates {
        /// The folder.
        dir: PathBuf,
        /// The component.
        component: Component,
        /// Paths below the folder.
        files: Vec<Excerpt>,
    },
    /// A checkpoint of some other model.
    #[error(
        "{}: not a Qwen-Image transformer, text encoder or VAE: {}",
        shown(file), describe_unknown(*resembles, keys)
    )]
    UnknownComponent {
        /// The checkpoint.
        file: PathBuf,
        /// The kind of file that its keys look like.
        resembles: Option<Resemblance>,
        /// Some of its keys.
        keys: Vec<Excerpt>,
    },
    /// A checkpoint of several models in one.
    #[error(
        "{}: holds a {first} and a {second}, and their names do not tell which tensor is whose: \
         use separate files",
        shown(file)
    )]
    SeveralComponents {
        /// The checkpoint.
        file: PathBuf,
        /// One of them.
        first: Component,
        /// Another.
        second: Component,
    },
    /// The right format, the wrong model.
    #[error("{}: is a {found}, not a {expected}", shown(file))]
    WrongComponent {
        /// The checkpoint.
        file: PathBuf,
        /// The component that was asked for.
        expected: Component,
        /// The component that it holds.
        found: Component,
    },
    /// A VAE that cannot read images.
    #[error(
        "{}: this VAE holds no encoder, which a run that begins with an image needs",
        shown(file)
    )]
    NoVaeEncoder {
        /// The checkpoint.
        file: PathBuf,
    },
    /// Contradictory or unsupported quantisation.
    #[error("{}: {fault}", shown(file))]
    Dialect {
        /// The checkpoint.
        file: PathBuf,
        /// The fault.
        fault: DialectError,
    },
    /// A LoRA that cannot be used.
    #[error("{}: {fault}", shown(file))]
    Lora {
        /// The LoRA.
        file: PathBuf,
        /// The fault.
        fault: Box<LoraError>,
    },
    /// No LoRA is at a path, nor below the `loras` folder of a folder of models.
    #[error(
        "{}: no such file, and none of that name in {}, which {}",
        shown(path), shown(dir), describe_loras(files.as_deref())
    )]
    NoSuchLora {
        /// The path as given.
        path: PathBuf,
        /// The folder that was searched.
        dir: PathBuf,
        /// Paths of LoRAs below that folder, if it is there.
        files: Option<Vec<Excerpt>>,
    },
    /// Several LoRAs of one name are below the `loras` folder of a folder of models.
    #[error(
        "{}: {} of that name are in {} ({}): name the one to use with its folder",
        shown(path), files.len(), shown(dir), listed(files, LISTED)
    )]
    SeveralLoras {
        /// The path as given.
        path: PathBuf,
        /// The folder that was searched.
        dir: PathBuf,
        /// Paths of the LoRAs below that folder.
        files: Vec<Excerpt>,
    },
    /// A folder of models holds no Lightning LoRA, or several.
    #[error("{}: {}", shown(dir), describe_lightning(*steps, files))]
    Lightning {
        /// The folder that was searched.
        dir: PathBuf,
        /// For so many steps.
        steps: usize,
        /// Paths below the folder.
        files: Vec<Excerpt>,
    },
    /// Keys that this program does not know.
    #[error(
        "{}: {} of its tensors are not known in a {component}: {}",
        shown(file), keys.len(), listed(keys, LISTED)
    )]
    UnknownKeys {
        /// The checkpoint.
        file: PathBuf,
        /// The component that it was read as.
        component: Component,
        /// The keys as in the file.
        keys: Vec<Excerpt>,
    },
    /// Two keys for one parameter, as with and without a prefix.
    #[error(
        "{}: tensors `{first}` and `{second}` are for the same parameter",
        shown(file)
    )]
    SameParameter {
        /// The checkpoint.
        file: PathBuf,
        /// One of the keys.
        first: Excerpt,
        /// The other.
        second: Excerpt,
    },
    /// A parameter of a dtype that is not read.
    #[error(
        "{}: tensor `{key}` is stored as {dtype}, which is not supported: use a BF16, F16, \
         F32 or FP8 (E4M3, E5M2) version",
        shown(file)
    )]
    UnsupportedDtype {
        /// The checkpoint.
        file: PathBuf,
        /// The tensor.
        key: Excerpt,
        /// Its dtype.
        dtype: ElementType,
    },
    /// A tensor with NaN or infinity, found after a computation gave such numbers.
    #[error(
        "{}: tensor `{key}` of this {component} holds numbers that are not finite (NaN or \
         infinity): the file is damaged, download it again",
        shown(file)
    )]
    NotFinite {
        /// The file that holds the tensor.
        file: PathBuf,
        /// The component that it was read as.
        component: Component,
        /// The tensor.
        key: Excerpt,
    },
    /// The checkpoint and the module do not fit each other.
    #[error("{}: does not fit the model: {misfit}", shown(file))]
    Misfit {
        /// The checkpoint.
        file: PathBuf,
        /// All that is missing, left over or of the wrong shape.
        misfit: Box<Misfit>,
    },
    /// The device has no room for all tensors.
    #[error(
        "{}: the device is out of memory: a tensor of {} is to be loaded and {} are free: close \
         other programs or use a smaller version",
        shown(file), Size(*needed), Size(*free)
    )]
    OutOfMemory {
        /// The checkpoint.
        file: PathBuf,
        /// Bytes of the tensor that did not fit.
        needed: u64,
        /// Bytes that were free.
        free: u64,
    },
    /// The system has no room for the few buffers that bytes go through.
    #[error(
        "{}: out of memory: the system gives no {} to read it with: close other programs",
        shown(file), Size(*needed)
    )]
    HostMemory {
        /// The checkpoint.
        file: PathBuf,
        /// Bytes of the buffer that it refused.
        needed: u64,
    },
    /// The device gave up while tensors were on their way to it.
    #[error("{}: the device failed while this was loaded: {message}", shown(file))]
    Device {
        /// The checkpoint.
        file: PathBuf,
        /// The backend's message.
        message: Excerpt,
    },
    /// The observer asked to stop.
    #[error("cancelled")]
    Cancelled,
}
