from chinchilla_jax.analysis.identities import identity_errors as identity_errors
from chinchilla_jax.analysis.identities import power_map as power_map
from chinchilla_jax.analysis.joint_maps import joint_map as joint_map
from chinchilla_jax.analysis.trends import trend_table as trend_table
