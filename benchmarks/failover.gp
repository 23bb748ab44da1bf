# The latency of every read and write before and after the trouble, one panel for each kind. Expects `folder`.
set terminal svg size 900,900 font 'sans-serif,12' background 'white'
set output folder.'/failover.svg'
set multiplot layout 3,1
set logscale y
set yrange [0.3:5000]
set xrange [-1.5:4]
set ylabel 'milliseconds a call'
set grid lc rgb '#dddddd'
set key top right
set arrow from 0, graph 0 to 0, graph 1 nohead dt 2 lc rgb '#666666'
do for [panel in "hang kill promotion"] {
  set title panel eq "hang" ? "a replica hangs at 0 (SIGSTOP)" : panel eq "kill" ? "a replica is killed at 0" : \
    "the primary is killed at 0, a replica promoted"
  set xlabel panel eq "promotion" ? "seconds; each point is a call, where it ended" : ""
  file = folder.'/failover_'.panel.'.dat'
  plot file using 1:(strcol(3) eq 'read' ? $2 : 1/0) with points pt 7 ps 0.25 lc rgb '#1f77b4' title 'reads', \
       file using 1:(strcol(3) eq 'write' ? $2 : 1/0) with points pt 7 ps 0.25 lc rgb '#ff7f0e' title 'writes'
}
unset multiplot
