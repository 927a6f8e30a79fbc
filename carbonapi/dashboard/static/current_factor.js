// The emission factor that applies to a usage of the organization now. The API applies the same order of precedence.

import { getAll } from "./api.js";
import { reference } from "./reference_data.js";

// The factors of a usage type that could apply: of the organization's region, its country, or of all regions.
export async function currentFactor(usageTypeId) {
  const { id, region } = reference.organization;
  const regions = [region, region?.slice(0, 2), null].filter(each => each !== undefined);
  const now = Date.now();
  const candidates = (await getAll(`/usage-types/${usageTypeId}/factors`, { method: "location", in_force: true })).filter(factor =>
    [null, id].includes(factor.organization_id) && regions.includes(factor.region)
    && Date.parse(factor.valid_from) <= now && (factor.valid_until === null || now < Date.parse(factor.valid_until)));
  const rank = factor => (factor.organization_id === null ? regions.length : 0) + regions.indexOf(factor.region);
  return candidates.sort((one, other) => rank(one) - rank(other))[0];
}
