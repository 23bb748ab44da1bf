# For each policy: how long reads take, how old their data is, and who serves them. Expects `folder`.
set terminal svg size 980,900 font 'sans-serif,12' background 'white'
set output folder.'/policies.svg'
file = folder.'/policies.dat'
set multiplot layout 2,1 title 'One replica well, one 8 ms away, one 1.5 s behind, one killed every second'
set style data histograms
set style fill solid 0.9 border -1
set boxwidth 0.9
set grid ytics lc rgb '#dddddd'
set key outside right top
set xtics rotate by -20 left font ',10' nomirror
set bmargin 6
set rmargin 26
set logscale y
set ylabel 'milliseconds'
set style histogram clustered gap 1
plot file using 2:xtic(1) lc rgb '#1f77b4' title 'latency, p50', \
     '' using 3 lc rgb '#aec7e8' title 'latency, p99', \
     '' using 4 lc rgb '#ff7f0e' title 'data age, p99'
unset logscale y
set yrange [0:100]
set ylabel 'share of the reads, %'
set style histogram rowstacked
plot file using 6:xtic(1) lc rgb '#2ca02c' title 'well', \
     '' using 7 lc rgb '#1f77b4' title 'slow', \
     '' using 8 lc rgb '#ff7f0e' title 'lagging', \
     '' using 9 lc rgb '#d62728' title 'flapping', \
     '' using 5 lc rgb '#999999' title 'primary'
unset multiplot
