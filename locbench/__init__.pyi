from locbench.datasets.known import DATASETS as DATASETS
from locbench.datasets.known import DatasetInfo as DatasetInfo
from locbench.learning.auxiliary.branch import AttachPoint as AttachPoint
from locbench.learning.auxiliary.branch import AuxiliaryNet as AuxiliaryNet
from locbench.learning.auxiliary.branch import Targets as Targets
from locbench.networks.chain import Chain as Chain
from locbench.networks.chain import ChainBuilder as ChainBuilder
from locbench.spec.components import BRANCHES as BRANCHES
from locbench.spec.components import Branch as Branch
from locbench.spec.components import Composition as Composition
from locbench.spec.components import part_of as part_of
from locbench.spec.methods import METHODS as METHODS
from locbench.spec.methods import Method as Method
from locbench.spec.methods import MethodContext as MethodContext
from locbench.spec.modifiers import MODIFIERS as MODIFIERS
from locbench.spec.modifiers import Modifier as Modifier
from locbench.spec.networks import NETWORKS as NETWORKS
from locbench.spec.networks import NetworkInfo as NetworkInfo

__version__: str
