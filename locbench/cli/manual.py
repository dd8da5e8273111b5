"""What ``--help`` says of each command below its options."""

from __future__ import annotations

METHODS = """Methods: a base (bp, dgl, predsim, infopro, head, auglocal, swin-reconstruction,
swin-infopro, swin-greedy, swin-contrast) and any modifiers (hpff, pff, pgl, reconstruction,
similarity, checkpointed), joined by +. They work on transformers and on convolutional networks,
except auglocal, which copies convolutional layers. `locbench list --methods` has the options that
--set takes."""

PRESETS = """Presets: paper is the paper's recipe. short trains on 20,000 images of the table's own
data set for ten epochs, a quarter of an hour to an hour for a ResNet-32 on one CPU core, in
bfloat16 where the device has it in hardware: enough to see orderings. quick trains on 4,000 for ten
epochs, about half an hour (estimated) for twelve ResNet-32 cells on two CPU cores. smoke takes
minutes on the embedded digits, or with --dataset on 800 images of another data set (400 for
ImageNet). Detectors take 5,000 images and eight epochs in short, 2,000 and four in quick, in
batches of 8, and the 320 drawn shapes in smoke. All but paper replace VGG, MobileNetV2,
EfficientNet, RegNet and ImageNet's ResNets by a network of as many local layers with 1/8 or 1/4 of
the channels, and Swin Transformers by a small one of as many blocks with random weights. Such runs
are marked as reduced."""

STOPPING = """Stopping: Ctrl-C, SIGTERM or a machine that goes down loses at most an epoch. Every
finished run is a file. The same command continues an unfinished run after its last whole epoch, on
the CPU with the same numbers to the last bit. --rerun failed repeats what failed."""

ENGINES = """Engines: all give the same numbers up to rounding. eager runs steps as they are.
compiled runs every distinct layer once through torch.compile. graphed makes a whole step one CUDA
graph, whose memory, a step's peak, stays taken until the run ends. compiled+graphed makes such a
graph of compiled layers; it has not been timed on a GPU yet. auto takes graphs on a CUDA device
where that is safe, and eager elsewhere. A graph is compared with a step without it before it is
used, and the record says what ran. On the CPU freed memory is kept for the next step;
LOCBENCH_KEEP_BLOCKS=0 turns that off. Feature maps lie in memory with channels last, but not in
fp32 on a CUDA device; LOCBENCH_CHANNELS_LAST=1 or 0 decides for every device and precision.
LOCBENCH_CUDNN_SEARCH=1 lets cuDNN time its algorithms before a step becomes a graph, which keeps
the fastest."""

LEAN = """Less memory: --memory lean trains isolated modules and backpropagation with less memory. A
module runs again after its auxiliary backward pass, BatchNorm and ReLU keep one input, and
parameters are stepped module by module. The numbers are the same up to rounding."""

WEIGHTS = """Weights: swin-tiny is Table 2 of the Swin paper, from ImageNet weights of timm's hub or
of a file (--weights FILE, safetensors or a torch state dict). With --init scratch it is Table 3. A
run on a file is marked with the file's digest, since nothing can tell whose weights they are.
--init torchvision starts VGG13, ResNet-34, -101, -152 or ResNeXt-101 from torchvision's ImageNet
weights (IMAGENET1K_V1) or those of a file, and computes what torchvision's network computes, bit
for bit. The last layer is drawn anew if the number of classes differs or the file has none. No
published number starts so: in tables such a run is marked as reduced. A file may be a checkpoint:
its state dict is found under the usual names, and prefixes such as module. are removed. Files that
hold other objects of Python are refused, since reading them can run any code."""

SWIN = """Swin Transformers are timm's, cut after every second block. Their images stay in memory as
they are; worker processes (LOCBENCH_WORKERS) crop, scale and augment them by timm's transforms
(RandAugment, random erasing), without colour jitter beside RandAugment, like the pipeline that the
paper names."""

TIMM = """Networks of timm: --network timm:NAME takes any model of timm whose blocks follow one
another, such as timm:resnet50, timm:vit_small_patch16_224 and timm:convnext_tiny. What comes before
the first block is a local layer, and so is each block. Weights, outputs and normalisation are
timm's. Images keep the data set's size where it is smaller than the model's, and are otherwise
scaled to the model's; another size is asked for by --recipe image_size=224, with costs and splits
by --image-size 224. Auxiliary nets see tokens as a map, without class token. auglocal copies blocks
of plain ResNets, ResNeXts and ConvNeXts."""

DEVICES = """Several devices: --jobs-per-device 4 trains four cells at a time; --device
cuda:0,cuda:1 or all trains on several devices, one process each. A run is the same whoever trains
it, but its time is not, so its record says beside how many others it ran. Costs are measured
afterwards, alone. Under torchrun --nproc-per-node N -m locbench table ... the processes share one
run: each takes its share of every batch, and gradients are averaged once per step (with lean memory
once per module). BatchNorm and contrastive losses see a process's share, so such a run is another
one and is marked."""

MEASURING = """Measuring: on a CUDA device, rows of costs are measured at the paper's batch on
random images: max_memory_allocated, max_memory_reserved and milliseconds per step, without and with
cuDNN's benchmark. They are shown in a section with the device's name, beside the predictions. The
time over backpropagation's on that device is shown beside the published wall-clock overhead.
Results are kept in results/measured. --no-measure measures nothing, --measure also measures on the
CPU, with its allocator's profile."""

DETECTORS = """Detectors: auglocal-coco is torchvision's Mask R-CNN on a ResNet-34 that the row's
method trained on ImageNet. It needs pycocotools, which computes AP of boxes and masks (the extra
coco of this package). A backbone is a run of its own, trained first where its weights are not in
results/weights; --rows BP --weights FILE takes a file's instead. --preset smoke trains small
detectors on embedded drawn shapes."""

REDUCING = """Other data: --dataset names one of the table's data sets, or another one that takes
its place; then the run is reduced. `locbench data` lists them."""

CAMPAIGN = """Campaigns train in the order given, every cell once before any gets its second seed.
The device is checked first: the engine against eager steps, and on CUDA measured against predicted
memory. The check is kept in results/checks. A run ends between two epochs when the budget is spent,
and the same command continues."""

COSTS = """Costs need no GPU. Parameters and operations are counted, and every published one is
compared after the paper's rounding. Memory is the peak of live tensor storage in the second
training step, traced on fake tensors, each storage rounded up to 512 bytes as CUDA's caching
allocator does. A device needs more (context, workspaces)."""

CALIBRATION = """Calibrations: where a table says what the paper's numbers seem to include beyond
tensors, the calibrated value is shown beside the prediction with its residual, and whether it was
fitted on that number, held out, or does not fit. It is never part of the prediction. --residuals
sums up all papers."""

KEPT = """Predictions are kept in results/costs with the versions that they were traced with. They
stay current under other versions; only a version of the rules, raised by hand where a peak changes,
voids them. What was measured on a device is printed in a block of its own. --timeline FILE.png
shows where the peak is."""

ACCURACY = """Accuracy: against the CPU allocator's profile, predictions of ResNet-8 and ResNet-20
are within 10 %, except two cases of 11 % in which the CPU's batch normalisation keeps one map too
many."""

FIT = """The batch is given twice: by the tensors alone, and as the one that a device has room for,
by the paper's calibration or by assumptions that are printed."""

SPLITS = """Divisions into K local modules are ranked by their largest module's peak, then by the
next-largest: the rule behind the Swin paper's splits, for any network, isolated method and K. A
module counts alone: its own parameters, gradients, optimizer state and auxiliary nets, its input
and the live tensors of its step. The answer is exact: a module is left untraced only where a lower
bound rules it out. `locbench run --recipe split=3,4,9` trains a division of your own. `locbench
table swin-splits` compares the paper's Table 1."""

BENCH = """Timing uses random images: every engine that can run, and reference, the plain way in
which the papers' codes train (one unfused SGD per module, contiguous maps, loss and accuracy read
back in every step, torchvision's transforms image by image; on CUDA with cuDNN's search for its
fastest algorithms, which the engines go without, unless LOCBENCH_CUDNN_SEARCH=1). All take turns in
interleaved rounds, the reference in a process of its own."""

BENCH_OUTPUT = """Shown are medians, ratios to the reference and to backpropagation beside the
published overhead, the share of the roofline (bytes and operations of a traced step over a measured
copy and product), memory, the data path alone, and an estimate of an epoch.
results/bench/README.md has what it found on two CPU cores; it has not run on a GPU yet."""

AGAINST = """Against the official code: --against FOLDER times AugLocal's official code in turn with
our steps, on the same batch: bp, dgl, predsim, infopro and auglocal on ResNet-32 with 16 local
modules, or one --method, or --network resnet110. FOLDER is a checkout of
https://github.com/ChenxiangMA/AugLocal, whose files are imported in a process of their own and stay
as they are. Network, losses and backward passes are its own; SGD steps and reads loss and accuracy
back as its loop does. A network with another number of parameters than ours is refused."""

REPORT = """The LaTeX needs booktabs alone and fits an article's text width; captions explain the
marks of verdicts. --json and --format csv of several tables are one document. Names from outside
are shown as they are in every format: no formula in a spreadsheet, no link in Markdown, no escape
code on a terminal."""

VERDICTS = """Verdicts on numbers and on claims are explained in results/README.md. --claims prints
what the papers say of their tables and whether it holds. There is no Kendall's tau for fewer than
five cells unless --rank-few asks for it."""

DATA = """Known sets: digits are embedded; cifar10, cifar100, svhn and stl10 are fetched by
--download of table and run. imagefolder:PATH is any folder of classes, as torchvision's ImageFolder
lists it. imagenet is ILSVRC 2012 in torchvision's layout in .data/imagenet (not downloadable), and
imagenet:PATH any folder of that layout; they are decoded by worker processes (LOCBENCH_WORKERS)
while a network trains and are never held in memory. coco is in .data/coco as its archives unpack,
and coco:PATH any folder of that layout."""

DATA_BYTES = """Of a data set with a PATH, the bytes of its files decide and not the path: a run on
files that have changed since is another run. Where only a JPEG copy of CIFAR-10 is there
(.data/cifar10-jpeg/train and test, CLASS/*.jpg), it replaces cifar10, and every number of it is
marked CIFAR-10 (JPEG q75)."""

RECORDS = """Recorded: the records in this repository count as recorded, and commands say so;
--results DIR or LOCBENCH_RESULTS=DIR keeps yours apart. --results DIR --results THEIRS reads
several folders as one: everything is written into the first. Of a run that is in several, the first
finished record counts, and different numbers are shown with their folders. A file that is no record
or needs what is not here, such as a plugin or a newer locbench, is named with its reason, passed
over and left as it is."""

LAYOUT = """Tables for a paper: --layout writes LaTeX that needs booktabs, with the published layout
and decimals. The best numbers of a column are bold within each group of rows. In both, the
published numbers are in brackets. --caption takes LaTeX, and reduced runs are explained below it
all the same. With --out the files are ID-LAYOUT.tex."""

CHECK = """Checks: --check fails on numbers of full runs and on counts that are off, unless a note
of the table explains a count. Reduced runs are never off. --fail-on missing fails on cells of which
nothing was run in any way, --fail-on failed on runs that ended in an error."""

RERUN = """The recipe and its seed are those of the record, the code is today's. On the CPU numbers
are the same to the last bit with the same versions, threads and engine; elsewhere they may differ
in rounding, or by the draws of another version. What differs is listed, and the exit code is 1. The
new record goes into a folder of its own and replaces nothing."""

PLUGINS = """Plugins: a Python file that registers methods, auxiliary nets, networks or data sets of
your own; CONTRIBUTING.md has whole examples. --plugin FILE.py loads it with every command, and so
does LOCBENCH_PLUGINS, where several files are joined as in PATH. Packages are found by their entry
points in the group locbench.plugins."""

CONTRACT = """Checked: a recipe is made of it and read back alike, it is built, a step runs, losses
and gradients are finite, gradients stay in the module that they are of, operations are counted, and
saved and loaded it goes on with the same numbers. Networks and data sets are also held against what
they say of themselves."""

_PARAGRAPHS = {
    "list": (RECORDS,),
    "table": (
        PRESETS,
        STOPPING,
        REDUCING,
        WEIGHTS,
        SWIN,
        ENGINES,
        LEAN,
        DEVICES,
        MEASURING,
        DETECTORS,
        RECORDS,
    ),
    "run": (METHODS, PLUGINS, TIMM, STOPPING, WEIGHTS, ENGINES, LEAN, DEVICES),
    "check": (CONTRACT, PLUGINS),
    "rerun": (RERUN, STOPPING, ENGINES),
    "campaign": (CAMPAIGN, PRESETS, ENGINES),
    "report": (REPORT, VERDICTS, LAYOUT, CHECK),
    "data": (DATA, DATA_BYTES),
    "costs": (COSTS, CALIBRATION, KEPT, ACCURACY),
    "fit": (FIT, COSTS),
    "splits": (SPLITS,),
    "bench": (BENCH, BENCH_OUTPUT, AGAINST, ENGINES),
}


def manual(command: str) -> str | None:
    """Return what a command's help says below its options, each paragraph as one line."""
    paragraphs = _PARAGRAPHS.get(command, ())
    return "\n\n".join(" ".join(each.split()) for each in paragraphs) or None
