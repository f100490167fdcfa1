/** What `lodge place` tells people. */

import { formatBytes } from '../fabric/matrix-text.ts';
import { type HostNetwork, usablePlaces } from '../machine/network/network.ts';
import type { Metrics } from '../placement/metrics.ts';
import type { Placed } from '../placement/place.ts';
import { pairCount, type Traffic, totalBytes } from '../placement/traffic/graph.ts';

export function placementRows(
  traffic: Traffic,
  network: HostNetwork,
  placed: Placed,
  seconds: number,
): string[][] {
  const ratio = (to: number): string =>
    to === 0 ? '-' : `${(placed.metrics.hopBytes / to).toFixed(3)} of ${hops(to, traffic)}`;
  return [
    ['ranks', `${traffic.ranks}, ${pairCount(traffic)} pairs, ${formatBytes(totalBytes(traffic))}`],
    ['places', `${usablePlaces(network)} of ${network.form}`],
    [
      'found by',
      `${placed.way}, in ${seconds.toFixed(2)}s${placed.isComplete ? '' : '; the time limit cut it short'}`,
    ],
    ...metricRows(placed.metrics),
    ['to linear', ratio(placed.linearHopBytes)],
    ['to random', ratio(placed.randomHopBytes)],
  ];
}

function hops(hopBytes: number, traffic: Traffic): string {
  const total = totalBytes(traffic);
  return `${(total === 0 ? 0 : hopBytes / total).toFixed(3)} hops`;
}

export function metricRows({
  hopBytes,
  hopsPerByte,
  averageDilation,
  maximumDilation,
  balance,
  congestion,
}: Metrics): string[][] {
  return [
    ['hop-bytes', `${Number(hopBytes.toPrecision(10))} (${hopsPerByte.toFixed(4)} hops for each byte)`],
    [
      'dilation',
      `${averageDilation.toFixed(4)} on average, ${Number(maximumDilation.toPrecision(6))} at most`,
    ],
    [
      'congestion',
      congestion === undefined
        ? 'not told: routes are not known, or there are too many for the time'
        : `${formatBytes(congestion.maximum)} over ${congestion.link} (${congestion.routing}), ${formatBytes(congestion.average)} on average over ${congestion.usedLinks} of ${congestion.links} links`,
    ],
    [
      'balance',
      `${balance.usedPlaces} places used, ${balance.most} ranks at most, ${balance.maximumOverAverage.toFixed(3)} of the average`,
    ],
  ];
}
